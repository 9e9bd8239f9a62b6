# The verbs of the house; .ci/run is all of them.
.PHONY: check test race fuzz bench micro diff lint

check: ; bash .ci/run
test: ; go test ./...
race: ; go test -race -short ./...
lint: ; go vet ./... && go tool staticcheck ./...
bench: ; go run ./test/bench -envoy=wheel -json docs/bench.json -svg docs/bench.svg -doc docs/performance.md
micro: ; go test -run '^$$' -bench . -benchmem ./internal/inproc/... ./internal/pump ./internal/match ./internal/stats ./internal/clienthello ./internal/tlssocket ./internal/ext/httpinspector ./internal/http1 ./internal/http2 ./internal/hcm ./internal/route ./internal/router ./internal/upstream
diff: ; go test ./test/differ -envoy=wheel -count=1
