package main

// Metrics of what devices hand in while there are no blocks.
var (
	metricOnline       = newMetric("online", "1 while the node hears of a quorum of the validators and reaches it.", gauge)
	metricSpooled      = newMetric("spool_transactions", "Transactions of devices that are kept until there are blocks again.", gauge)
	metricSpoolBytes   = newMetric("spool_bytes", "Their size.", gauge)
	metricSpoolTaken   = newMetric("spool_taken_total", "Transactions that were ever kept so.", counter)
	metricSpoolRefused = newMetric("spool_refused_total", "Of them, how many failed or were refused in the end.", counter)
)

func (c collector) spool(put put) {
	s := c.n.spool.Stats()
	online := 0.0
	if c.n.online() {
		online = 1
	}
	put(metricOnline, online)
	put(metricSpooled, float64(s.Kept))
	put(metricSpoolBytes, float64(s.Bytes))
	put(metricSpoolTaken, float64(s.Taken))
	put(metricSpoolRefused, float64(s.Refused))
}
