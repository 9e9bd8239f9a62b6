package http2

import (
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"
)

// A huffman tree reads Huffman codes eight bits at a time: a node has a place for each
// byte, filled with where that byte leads.
type huffmanNode [256]huffmanStep

type huffmanStep struct {
	next *huffmanNode // nil: sym is complete
	sym  byte
	bits uint8 // used of the byte, when complete; 0: no code is so
}

// huffmanRoot is built when the first Huffman code comes.
var huffmanRoot = sync.OnceValue(func() *huffmanNode {
	root := new(huffmanNode)
	for sym := range 256 {
		code, bits := huffmanCode(byte(sym))
		root.put(byte(sym), code, bits)
	}
	return root
})

// huffmanCode asks x/net's encoder for the code of a byte: eight of them fill as many
// bytes as one has bits.
func huffmanCode(sym byte) (code uint32, bits int) {
	s := string([]byte{sym})
	bits = int(hpack.HuffmanEncodeLength(strings.Repeat(s, 8)))
	for _, b := range hpack.AppendHuffmanString(nil, s) {
		code = code<<8 | uint32(b)
	}
	return code >> ((8 - bits%8) % 8), bits
}

func (n *huffmanNode) put(sym byte, code uint32, bits int) {
	for ; bits > 8; bits -= 8 {
		step := &n[byte(code>>(bits-8))]
		if step.next == nil {
			step.next = new(huffmanNode)
		}
		n = step.next
	}
	free := 8 - bits
	for low := range 1 << free {
		n[byte(code<<free)|byte(low)] = huffmanStep{sym: sym, bits: uint8(bits)}
	}
}

// decodeHuffman appends what p stands for.
func decodeHuffman(to *strings.Builder, p []byte) error {
	root := huffmanRoot()
	node, bits, have := root, uint32(0), 0 // bits not used yet, and how many
	pending := 0                           // bits used of a code that is not complete
	for _, b := range p {
		bits, have = bits<<8|uint32(b), have+8
		for have >= 8 {
			step := &node[byte(bits>>(have-8))]
			switch {
			case step.next != nil:
				node, have, pending = step.next, have-8, pending+8
			case step.bits == 0:
				return errHuffman // 30 ones: EOS
			default:
				to.WriteByte(step.sym)
				node, have, pending = root, have-int(step.bits), 0
			}
		}
	}
	return endHuffman(to, node, bits, have, pending)
}

// endHuffman decodes what is left: codes of less than eight bits, then padding of less
// than eight ones.
func endHuffman(to *strings.Builder, node *huffmanNode, bits uint32, have, pending int) error {
	for have > 0 {
		step := &node[byte(bits<<(8-have))]
		if step.next != nil || step.bits == 0 || int(step.bits) > have {
			break
		}
		to.WriteByte(step.sym)
		node, have, pending = huffmanRoot(), have-int(step.bits), 0
	}
	ones := uint32(1)<<have - 1
	if pending+have > 7 || bits&ones != ones {
		return errHuffman
	}
	return nil
}
