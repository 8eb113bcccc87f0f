package main

import "github.com/seed79541315/postern/abi"

var (
	metricReports      = newMetric("reports_total", "Reports of devices' behaviour that were judged.", counter, "level")
	metricUnjudged     = newMetric("reports_unjudged_total", "Reports that were not: no contract is bound to the device, or an error.", counter, "why")
	metricSilences     = newMetric("device_silences_total", "Silences of devices that contracts were told of.", counter)
	metricDenials      = newMetric("device_denials_total", "Denials of devices' requests that contracts judged, and those passed over because there were too many.", counter, "result")
	metricIsolated     = newMetric("devices_isolated", "Devices that this gateway isolates now.", gauge)
	metricIsolations   = newMetric("device_isolations_total", "Isolations that began, and those refused because too many devices are isolated.", counter, "result")
	metricWatched      = newMetric("devices_watched", "Devices of whose behaviour this gateway keeps something.", gauge)
	metricWatchBytes   = newMetric("device_watch_bytes", "Memory that it takes.", gauge)
	metricForgotten    = newMetric("devices_forgotten_total", "Devices whose local records were given up for want of room.", counter)
	metricVerdicts     = newMetric("verdicts_total", "Verdicts and alerts for the ledger.", counter, "result")
	metricVerdictsWait = newMetric("verdicts_waiting", "Verdicts and alerts that wait to be submitted.", gauge)
	metricBehaviour    = newMetric("behaviour_written_bytes_total", "Bytes written to the files of local records and evidence.", counter)
	metricAttacks      = newMetric("attacks_total", "Attacks on this gateway that were met.", counter, "kind")
	metricHookRuns     = newMetric("hook_runs_total", "Runs of the hook on devices' statuses, those that failed among them.", counter)
	metricHookFailed   = newMetric("hook_failures_total", "Runs of the hook on devices' statuses that failed; they are tried again.", counter)
)

func (c collector) behaviour(put put) {
	b := c.n.behaviour.Stats()
	for level, n := range b.Reports {
		put(metricReports, float64(n), abi.Level(level).String())
	}
	put(metricUnjudged, float64(b.Unjudged), "unbound")
	put(metricUnjudged, float64(b.Failed), "failed")
	put(metricSilences, float64(b.Silences))
	put(metricDenials, float64(b.Denials), "judged")
	put(metricDenials, float64(b.DenialsPassedOver), "passed over")
	put(metricIsolated, float64(b.Isolated))
	put(metricIsolations, float64(b.Isolations), "began")
	put(metricIsolations, float64(b.IsolationsRefused), "refused")
	put(metricWatched, float64(b.Watched))
	put(metricWatchBytes, float64(b.WatchBytes))
	put(metricForgotten, float64(b.Forgotten))
	put(metricVerdicts, float64(b.Submitted), "submitted")
	put(metricVerdicts, float64(b.Lost), "lost")
	put(metricVerdictsWait, float64(b.Waiting))
	put(metricBehaviour, float64(b.WrittenBytes))
	if h := c.n.hook; h != nil {
		put(metricHookRuns, float64(h.runs.Load()))
		put(metricHookFailed, float64(h.failed.Load()))
	}
	for _, a := range b.Attacks {
		put(metricAttacks, float64(a.Count), a.Kind)
	}
}
