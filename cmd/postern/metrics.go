package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// metric is one figure of the node that is read when Prometheus asks.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// nodeMetrics are all that newMetric has made.
var nodeMetrics []metric

func newMetric(name, help string, kind prometheus.ValueType, labels ...string) metric {
	m := metric{prometheus.NewDesc("postern_"+name, help, labels, nil), kind}
	nodeMetrics = append(nodeMetrics, m)
	return m
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

var (
	metricHeight       = newMetric("height", "Height of the newest block.", gauge)
	metricBlockTime    = newMetric("block_time_seconds", "Header time of the newest block, since 1970.", gauge)
	metricBlocks       = newMetric("blocks_total", "Blocks committed by this process.", counter)
	metricTransactions = newMetric("transactions_total", "Transactions in them.", counter)
	metricTimers       = newMetric("timers_total", "Timers run in them.", counter)
	metricDecisions    = newMetric("decisions_total", "Decisions answered.", counter)
	metricPermits      = newMetric("permits_total", "Decisions that permitted.", counter)
	metricFailures     = newMetric("decision_failures_total", "Decisions that denied because policy or node failed.", counter)
	metricQueue        = newMetric("consensus_waiting_transactions", "Transactions in line for a block.", gauge)
	metricKeys         = newMetric("state_keys", "Keys of the state.", gauge)
	metricCache        = newMetric("state_cache_reads_total", "Reads through the hot cache.", counter, "result")
	metricViews        = newMetric("state_views", "Heights held open by readers.", gauge)
	metricDisk         = newMetric("database_size_bytes", "Size of the database on disk.", gauge)
	metricWritten      = newMetric("database_written_bytes_total", "Bytes written to disk.", counter, "what")
	metricCodes        = newMetric("contract_codes", "Compiled codes that are ready.", gauge)
	metricLoads        = newMetric("contract_code_loads_total", "Codes compiled or read from the cache directory. Rising all the time: the node's memory is too small for its contracts.", counter)
	metricCodeBytes    = newMetric("contract_code_bytes", "Estimated memory of compiled codes and their images.", gauge)
	metricInstances    = newMetric("contract_idle_instances", "Instances of contracts that wait for a call.", gauge)
	metricInstBytes    = newMetric("contract_idle_instance_bytes", "Memory that they have to themselves.", gauge)
	metricConnections  = newMetric("gateway_connections", "Open connections on the device port.", gauge)
	metricAccepted     = newMetric("gateway_handshakes_total", "Handshakes on the device port.", counter, "result")
	metricRequests     = newMetric("gateway_requests_total", "Requests on the device port.", counter, "operation", "code")
	metricStaleness    = newMetric("staleness_seconds", "For how long this node may have missed blocks.", gauge)
	metricVotes        = newMetric("validator", "1 while this node votes, 0 while it follows.", gauge)
	metricBase         = newMetric("base_height", "Lowest block above the genesis that this node keeps.", gauge)
	metricTarget       = newMetric("sync_target_height", "Highest block that another node has told of, not below this node's own.", gauge)
	metricFetched      = newMetric("sync_blocks_total", "Blocks taken from other nodes instead of being voted for.", counter)
	metricServing      = newMetric("sync_requests_served", "Requests of other nodes that are being answered.", gauge)
	metricPeers        = newMetric("peers", "Connected nodes.", gauge, "class")
	metricDials        = newMetric("peer_dials_total", "Tries to reach another node.", counter, "result")
	metricRefused      = newMetric("peer_connections_refused_total", "Connections of others that were refused.", counter, "why")
	metricLost         = newMetric("peer_connections_lost_total", "Connections given up because nothing came back.", counter)
	metricMisbehaved   = newMetric("peer_misbehaviour_total", "Times that a node sent what an honest one never sends.", counter)
	metricBanned       = newMetric("peers_banned", "Keys of nodes refused now because they misbehaved.", gauge)
	metricMessages     = newMetric("peer_messages_total", "Messages between nodes.", counter, "kind", "what")
	metricPeerBytes    = newMetric("peer_bytes_total", "Bytes of the messages that were sent and received.", counter, "kind", "what")
	metricWaiting      = newMetric("peer_waiting_bytes", "Bytes of messages in line for other nodes.", gauge, "kind")
)

// collector makes metrics of a node's figures.
type collector struct{ n *node }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range nodeMetrics {
		ch <- m.desc
	}
}

// put hands over the value of a metric.
type put func(m metric, v float64, labels ...string)

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	put := put(func(m metric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	})
	c.ledger(put)
	c.storage(put)
	c.contracts(put)
	c.gateway(put)
	c.behaviour(put)
	c.decisions(put)
	c.spool(put)
	c.webhooks(put)
	if c.n.peering != nil {
		c.peers(put)
	}
}

func (c collector) ledger(put put) {
	l := c.n.ledger.Stats()
	put(metricHeight, float64(l.Height))
	put(metricBlockTime, float64(l.Time)/1000)
	put(metricBlocks, float64(l.Blocks))
	put(metricTransactions, float64(l.Transactions))
	put(metricTimers, float64(l.Timers))
	put(metricDecisions, float64(l.Decisions))
	put(metricPermits, float64(l.Permits))
	put(metricFailures, float64(l.Failures))
	put(metricStaleness, float64(c.n.staleness())/1000)
	put(metricBase, float64(c.n.ledger.Base()))
	engine := c.n.role.engine.Load()
	if engine == nil {
		put(metricVotes, 0)
		return
	}
	put(metricVotes, 1)
	put(metricQueue, float64(engine.Stats().Waiting))
}

func (c collector) storage(put put) {
	s := c.n.store.Stats()
	put(metricKeys, float64(s.Keys))
	put(metricCache, float64(s.CacheHits), "hit")
	put(metricCache, float64(s.CacheMiss), "miss")
	put(metricViews, float64(s.Views))
	put(metricDisk, float64(s.SizeBytes))
	put(metricWritten, float64(s.LogBytes), "log")
	put(metricWritten, float64(s.FlushedBytes), "flush")
	put(metricWritten, float64(s.CompactedBytes), "compaction")
}

func (c collector) contracts(put put) {
	h := c.n.runtime.Stats()
	put(metricCodes, float64(h.Codes))
	put(metricLoads, float64(h.Loads))
	put(metricCodeBytes, float64(h.CodeBytes))
	put(metricInstances, float64(h.Idle))
	put(metricInstBytes, float64(h.IdleBytes))
}

func (c collector) gateway(put put) {
	g := c.n.gateway.Stats()
	put(metricConnections, float64(g.Connections))
	put(metricAccepted, float64(g.Accepted), "accepted")
	put(metricAccepted, float64(g.HandshakesFailed), "failed")
	put(metricAccepted, float64(g.RefusedAddress), "refused")
	for _, r := range g.Requests {
		put(metricRequests, float64(r.Count), operationName(r.Op), r.Code.Name())
	}
}

func (c collector) peers(put put) {
	p := c.n.peering.sync.Progress()
	put(metricTarget, float64(p.Target))
	put(metricFetched, float64(p.Fetched))
	put(metricServing, float64(p.Serving))
	s := c.n.peering.network.Stats()
	put(metricPeers, float64(s.Validators), peer.Validator.String())
	put(metricPeers, float64(s.Nodes), peer.Node.String())
	put(metricPeers, float64(s.Strangers), peer.Stranger.String())
	put(metricDials, float64(s.Dials-s.DialsFailed), "connected")
	put(metricDials, float64(s.DialsFailed), "failed")
	put(metricRefused, float64(s.RefusedPending), "handshakes")
	put(metricRefused, float64(s.RefusedStrangers), "stranger")
	put(metricRefused, float64(s.RefusedBanned), "misbehaved")
	put(metricRefused, float64(s.RefusedFull), "full")
	put(metricLost, float64(s.Lost))
	put(metricMisbehaved, float64(s.Misbehaved))
	put(metricBanned, float64(s.Banned))
	for _, t := range s.Traffic {
		put(metricMessages, float64(t.Sent), t.Kind, "sent")
		put(metricMessages, float64(t.Received), t.Kind, "received")
		put(metricMessages, float64(t.Dropped), t.Kind, "dropped")
		put(metricMessages, float64(t.Ignored), t.Kind, "ignored")
		put(metricPeerBytes, float64(t.SentBytes), t.Kind, "sent")
		put(metricPeerBytes, float64(t.ReceivedBytes), t.Kind, "received")
		put(metricWaiting, float64(t.WaitingBytes), t.Kind)
	}
}

func operationName(op abi.Operation) string {
	names := map[abi.Operation]string{abi.OpHello: "hello", abi.OpDecide: "decide", abi.OpBatch: "batch", abi.OpSubmit: "submit", abi.OpStatus: "status",
		abi.OpProve: "prove", abi.OpQuery: "query", abi.OpScan: "scan", abi.OpBlock: "block", abi.OpTx: "tx", abi.OpSteps: "steps",
		abi.OpReport: "report", abi.OpReceipt: "receipt", abi.OpSubscribe: "subscribe", abi.OpEvidence: "evidence", abi.OpSearch: "search"}
	if name, ok := names[op]; ok {
		return name
	}
	return "unknown"
}

// registerMetrics puts together what /metrics serves.
func (n *node) registerMetrics(registry *prometheus.Registry) error {
	errs := []error{
		registry.Register(collector{n}),
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	}
	for _, c := range n.web.Collectors() {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}
