// Package script runs acceptance scripts against a proxy process: ginnel in each of
// its modes (hand-over or pipes, event loops or goroutines), or a real Envoy.
//
// A script is a txtar archive under testdata/script: a story told with the
// commands below, and the configuration files it needs. One script runs
// unchanged against every subject; where the subjects differ on purpose the
// script says so with a condition, and names the row of docs/differences.md:
//
//	# differs: inner-close-is-fin
//	[envoy] client c expect reset
//	[ginnel] client c expect end
//
// Conditions are [envoy], [ginnel], and of ginnel's modes [handover], [pipes],
// [loops] and [goroutines]; [transparent] asks whether sockets may have addresses of
// others. A comment line
// "# hops: 1 2 8" runs the script once for each number, as $HOPS.
//
// # Stories
//
// Backends and clients follow steps, separated by the word "then":
//
//	backend up expect ping then send pong then close
//	client c connect out then send ping then expect pong then expect end
//
// Each connection to a backend follows the whole story; what a client is told
// later continues its connection. After its last step a backend reads and
// remembers what still comes, and closes when its peer has ended.
//
//	connect NAME|ADDR    dial 127.0.0.1:$PORT_NAME, HOST:PORT or unix:PATH (clients only)
//	send TEXT            Go escapes such as \n are understood
//	send N bytes         the next N bytes of a fixed random pattern
//	fill N bytes         send until nobody takes more, which must happen before N bytes
//	expect TEXT          exactly this comes next
//	expect N bytes       the next N bytes of the pattern
//	expect end           the peer's FIN, and nothing before it
//	expect reset         the peer's RST, and nothing before it
//	expect quiet         nothing comes for a fifth of a second
//	exchange N bytes     send and expect N bytes at the same time
//	drain                throw away what comes until the peer has ended
//	echo                 send back what comes; a FIN for a FIN
//	fin, close, reset    end the sending side; close; close with a RST
//	wait                 until the script says "release NAME" (backends only)
//	hold                 neither read nor write until the script ends (backends only)
//
// # Commands
//
//	backend [-at ADDR] NAME STORY    listen on $PORT_NAME, or on ADDR
//	backend NAME got WHAT            conns N | bytes N | text T | end | reset | ends N | resets N | open
//	release NAME                     let one waiting connection of a backend go on
//	blackhole NAME                   a port that never answers a connection attempt
//	dns NAME [RECORD]...             a name server on 127.0.0.53:$PORT_NAME, and from then on its records; none: it fails
//	client NAME STORY
//	client -times N NAME STORY       the whole story N times, on a new connection each
//	client -together N NAME STORY    N clients at the same time: NAME1, NAME2, ...
//	origin [-at ADDR] NAME           an HTTP/1.1 and HTTP/2 server on $PORT_NAME, or on ADDR
//	origin NAME got WHAT             conns N | requests N [METHOD TARGET]
//	origin NAME stop
//	http [FLAG...] CLIENT NAME|ADDR METHOD TARGET [HEADER: VALUE]... [-body TEXT | -bytes N]
//	                                 a request, by the connections that CLIENT keeps. The answer becomes stdout:
//	                                 status, headers in order of names, body, trailers. Flags: -h2; -times N and
//	                                 -together N (stdout counts the statuses); -private
//	tunnel [-h2] NAME LISTENER AUTHORITY [HEADER: VALUE]...  CONNECT; NAME is then a client for stories. With ! it
//	                                 must be refused; the status becomes stdout
//	proxy start [FILE] [FLAG...]     with ! it must exit with a failure; then stdout and stderr ask what it said
//	proxy validate [FLAG...] [FILE]  --mode validate, or ginnel's own "validate" where flags are given
//	proxy run ARG...                 any other command line, to its end
//	proxy stop [SIGNAL]              TERM unless said; it must exit with 0
//	proxy signal SIGNAL
//	proxy said REGEXP                something on its standard error
//	proxy idle                       every gauge of open connections has come to 0
//	proxy files ==|>=|<= N           its open descriptors
//	stat NAME ==|>=|<= VALUE         also: stat NAME absent. Polls, so it is how to wait for something, too. A text is
//	                                 compared by == alone
//	log [-private] [-sorted] [-count N] NAME REGEXP  a line of $WORK/NAME.log matches, or exactly N; sorted where
//	                                 their order is chance. Polls
//	admin [-private] [-status N] GET|POST PATH    the body becomes stdout
//	replace FILE OLD NEW...          change a file of the script before its use
//	put FILE TARGET                  fills a file of the script in, as those given to proxy, and moves it to $WORK/TARGET
//	                                 in one step, as a watched file has to be
//	cert [FLAG...] NAME              a certificate: $WORK/NAME.pem and NAME.key. Flags: -ca; -by NAME, who signs it;
//	                                 -cn, -dns, -uri, -ip, -email; -rsa; -expired; -future; -for client|server; -encipher; -staple;
//	                                 -password TEXT, which protects the key, and NAME.p12 with all of it; NAME.password
//	ocsp -by NAME [-expired] NAME [CERT]  $WORK/NAME.ocsp, what an authority says of a certificate, CERT if not NAME
//	crl -by NAME NAME [CERT...]      $WORK/NAME.crl, what an authority has revoked
//	tls [FLAG...] CLIENT NAME|ADDR   connects a client by TLS; with ! it must be refused. Flags: -sni, -alpn, -cert,
//	                                 -ca, -min, -max, -cipher, -curve, -resume, -private. What came of it is stdout
//	https [FLAG...] CLIENT           makes a client of http one of TLS
//	tlsbackend [FLAG...] NAME [STORY]  a backend behind TLS; with -http an origin
//	modes stat|log REGEXP REASON     ginnel's modes may differ here, and why
//
// An origin answers 200 with what it was asked, unless lines "do: ..." in the request's
// header say otherwise: status N, header NAME: VALUE, trailer NAME: VALUE, body TEXT, bytes
// N, grpc HEX (a message), inform N (1xx), sleep DURATION, hold (until "release NAME"), flush,
// echo (as it comes), reset; "first N ..." does it the first N times only.
//
// What log, admin and http find is an answer, which is compared with the one recorded
// from Envoy; -private keeps it out of that. What one mode finds must be what the others
// do: answers, the statistics and lines of logs at the end, but for those that time decides
// in every run (unsteady, and what http excepts).
//
// The commands of testscript (stdout, stderr, cmp, env, exec, ...) are there too.
//
// # Configuration
//
// Files given to proxy are Go templates; see functions in template.go. The text
// $PORT_name becomes a port that is free and stays the same in the script;
// $WORK the script's folder. A script without an admin address gets one, as
// --config-yaml; its port is $PORT_admin.
package script
