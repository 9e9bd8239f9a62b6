package filter

// Doubles is a Runtime that knows of numbers with fractions, too.
type Doubles interface {
	Double(key string, def float64) float64
}
