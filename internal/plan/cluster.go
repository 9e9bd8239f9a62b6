package plan

import "time"

// OriginalDst says where connections of an ORIGINAL_DST cluster go.
type OriginalDst struct {
	Metadata *MetadataKey // nil: none says so
	Header   string       // lower case; "": none
	Port     *uint16      // in place of the port that was found; nil: that one
	Cleanup  time.Duration
}
