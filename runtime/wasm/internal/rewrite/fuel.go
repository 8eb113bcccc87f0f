package rewrite

// Gas and height share one number, the fuel, so that functions load, test and
// store them at once: gas << heightBits + height. The height never reaches
// half of what its bits hold, and a frame weighs at most that half. So the
// highest of these bits is set if and only if the height is below zero, where
// it has borrowed one from gas; and the number's sign is that of gas.
const (
	heightBits = 10
	maxWeight  = 1 << (heightBits - 2)
	// MaxHeight and MaxGas are the most that a call can be given.
	MaxHeight = 1<<(heightBits-1) - 1
	MaxGas    = 1 << 52
)

// Fuel joins gas and height.
func Fuel(gas, height int64) uint64 { return uint64(gas<<heightBits + height) }

// Split takes fuel apart. Either part may be negative after a trap.
func Split(fuel uint64) (gas, height int64) {
	height = int64(fuel) << (64 - heightBits) >> (64 - heightBits)
	return (int64(fuel) - height) >> heightBits, height
}
