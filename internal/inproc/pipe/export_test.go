package pipe

import "unsafe"

const PairBytes = unsafe.Sizeof(pair{})
