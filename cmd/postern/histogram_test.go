package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestPercentiles holds the histogram against all the durations in order.
func TestPercentiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 5000 {
		d := time.Duration(rng.ExpFloat64()*float64(3*time.Millisecond)) / time.Microsecond * time.Microsecond
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, share := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want, got := all[int(share*5000+0.5)-1], h.percentile(share)
		if got < want || got > want+want/16+time.Microsecond {
			t.Errorf("percentile %v is %v, want %v", share, got, want)
		}
	}
	if got := (&histogram{}).percentile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestBucketsCoverEveryDuration(t *testing.T) {
	for _, us := range []uint64{0, 1, 15, 16, 17, 31, 32, 33, 1000, 1 << 40, 1<<63 - 1} {
		i := bucketOf(us)
		if i >= len(histogram{}.buckets) || us > upperEnd(i) || i > 0 && us <= upperEnd(i-1) {
			t.Errorf("%d is in bucket %d, which ends at %d", us, i, upperEnd(i))
		}
	}
}
