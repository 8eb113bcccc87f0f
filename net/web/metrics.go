package web

import (
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many scrapes run at once; a node has one or two scrapers.
const maxScrapes = 2

type metrics struct {
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	decisions   *prometheus.CounterVec
	connections prometheus.Gauge
	refused     prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_web_requests_total",
			Help: "HTTPS requests by endpoint and status code.",
		}, []string{"path", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_web_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9), // 50 µs to 3.3 s
		}, []string{"path"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_web_decisions_total",
			Help: "Decisions answered over HTTPS.",
		}, []string{"decision"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "postern_web_connections",
			Help: "Open HTTPS connections.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_web_connections_refused_total",
			Help: "HTTPS connections closed on arrival because too many were open.",
		}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.decisions, m.connections, m.refused}
}

func (m *metrics) request(label string, status int, took time.Duration) {
	m.requests.WithLabelValues(label, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(label).Observe(took.Seconds())
}

func (m *metrics) decision(permit bool) {
	label := "deny"
	if permit {
		label = "permit"
	}
	m.decisions.WithLabelValues(label).Inc()
}

func metricsHandler(g prometheus.Gatherer, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}

// fromLoopback says whether r comes from this machine itself rather than
// through a proxy on it.
func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback() &&
		r.Header.Get("Forwarded") == "" && r.Header.Get("X-Forwarded-For") == ""
}
