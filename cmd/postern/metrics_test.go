package main

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetrics: a node among others gives a value to every metric that it
// describes, but to those whose labels have not come up yet, and to no other.
func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.startAll()
		s.nodes[0].mustCommit(1, 30*time.Second)
		registry := prometheus.NewPedanticRegistry()
		if err := registry.Register(collector{s.nodes[0].node}); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		without := []metric{metricRequests, metricHookRuns, metricHookFailed, metricWebhooks} // no request came, no hook is set
		if want := len(nodeMetrics) - len(without); len(families) != want {
			t.Errorf("%d metrics have values, want %d", len(families), want)
		}
		for _, f := range families {
			if f.GetName() != "postern_peers" {
				continue
			}
			for _, m := range f.Metric {
				if l := m.Label[0].GetValue(); l == "validator" && m.Gauge.GetValue() != 3 {
					t.Errorf("%v validators are connected, want 3", m.Gauge.GetValue())
				}
			}
		}
	})
}
