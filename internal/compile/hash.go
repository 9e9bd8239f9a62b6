package compile

import (
	"crypto/sha1"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"
)

// hash tells two versions of a message apart.
func hash(m proto.Message) uint64 { return xxhash.Sum64(bytesOf(m)) }

// bytesOf is the same for equal messages within one build of the program.
func bytesOf(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
	if err != nil {
		return []byte(err.Error()) // text that is not UTF-8
	}
	return b
}

// uuid names what has no name, by what it is and where it stands: a UUID of
// version 5 (RFC 9562), so that the same configuration gives the same names.
func uuid(m proto.Message, index int) string {
	h := sha1.New()
	h.Write(bytesOf(m))
	h.Write(strconv.AppendInt(nil, int64(index), 10))
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
