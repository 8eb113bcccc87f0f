package main

// Metrics of the decision log.
var (
	metricUnrecorded  = newMetric("unrecorded_denials_total", "Denials of callers who are not known here, which no log keeps.", counter)
	metricLogRecords  = newMetric("decision_log_records", "Records that the decision log ever had.", gauge)
	metricLogWaiting  = newMetric("decision_log_waiting", "Of them, how many wait for the disk.", gauge)
	metricLogAnchored = newMetric("decision_log_anchored", "Of them, how many the ledger has a head of.", gauge)
	metricLogBytes    = newMetric("decision_log_bytes", "Size of the records that are kept.", gauge)
	metricLogWritten  = newMetric("decision_log_written_bytes_total", "Bytes of records written to disk.", counter)
	metricLogSyncs    = newMetric("decision_log_syncs_total", "Times that records were synced.", counter)
	metricLogFull     = newMetric("decision_log_full", "1 while the disk is full and everything is denied.", gauge)
)

func (c collector) decisions(put put) {
	s := c.n.decisions.Stats()
	put(metricUnrecorded, float64(c.n.ledger.Stats().Unrecorded))
	put(metricLogRecords, float64(s.Records))
	put(metricLogWaiting, float64(s.Waiting))
	put(metricLogAnchored, float64(s.Anchored))
	put(metricLogBytes, float64(s.Bytes))
	put(metricLogWritten, float64(s.Written))
	put(metricLogSyncs, float64(s.Syncs))
	full := 0.0
	if s.Full {
		full = 1
	}
	put(metricLogFull, full)
}
