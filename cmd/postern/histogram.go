package main

import (
	"math/bits"
	"sync"
	"time"
)

// histogram counts durations in bounded memory: sixteen buckets for each power of
// two of microseconds, so that a percentile is at most 1/16 above the truth.
type histogram struct {
	mu      sync.Mutex
	buckets [64 * 16]uint64 // guarded by mu
	count   uint64          // guarded by mu
	longest time.Duration   // guarded by mu
}

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buckets[bucketOf(uint64(max(0, d.Microseconds())))]++
	h.count++
	h.longest = max(h.longest, d)
}

// bucketOf is exact below 16 and keeps the four bits behind the first above.
func bucketOf(us uint64) int {
	if us < 16 {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return (shift+1)*16 + int(us>>shift) - 16
}

// upperEnd is the largest number of microseconds in a bucket.
func upperEnd(bucket int) uint64 {
	if bucket < 16 {
		return uint64(bucket)
	}
	shift := bucket/16 - 1
	return (uint64(bucket%16)+16+1)<<shift - 1
}

// percentile is the duration that a share of all does not exceed, 0 if there are
// none.
func (h *histogram) percentile(share float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	need := uint64(share*float64(h.count) + 0.5)
	seen := uint64(0)
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= need {
			return min(time.Duration(upperEnd(i))*time.Microsecond, h.longest)
		}
	}
	return 0
}

// latencyOutput is a histogram as commands show it, in milliseconds.
type latencyOutput struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (h *histogram) output() latencyOutput {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	h.mu.Lock()
	count, longest := h.count, h.longest
	h.mu.Unlock()
	return latencyOutput{count, ms(h.percentile(0.5)), ms(h.percentile(0.9)), ms(h.percentile(0.99)), ms(longest)}
}
