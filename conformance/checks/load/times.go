package load

import (
	"fmt"
	"slices"
	"time"
)

// Times are durations to be summed up.
type Times []time.Duration

// At gives a quantile: the smallest time that this share of all does not exceed.
func (t Times) At(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	index := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(index, 0), len(sorted)-1)]
}

func (t Times) String() string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms (%d)", ms(t.At(0.5)), ms(t.At(0.99)), ms(t.At(1)), len(t))
}
