package state

// An OwnOperator is one that ginnel has and Envoy 1.40 has not.
type OwnOperator struct{ Name, Prints string }

// OwnOperators returns ginnel's own operators, with what they print.
func OwnOperators() []OwnOperator {
	return []OwnOperator{
		{"HOP_PATH", "the names of the listeners that the chain of internal hops passed up to this connection, the outermost first, joined by >"},
		{"CHAIN_ID", "16 hexadecimal digits, the same for all connections of one chain of internal hops and for no other: the key that joins outer and inner lines"},
		{"HOPS", "the number of internal hops before this connection; a number in JSON"},
	}
}
