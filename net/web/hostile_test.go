package web

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHostileJSON sends what a lenient parser would guess at. Every body is
// one that a permit would follow if the damage were overlooked.
func TestHostileJSON(t *testing.T) {
	with := func(context string) string { return object(alice, read, record1, `"context":`+context) }
	nested := func(open, end string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(end, n) }
	for _, c := range []struct {
		name, body string
		status     int
		code       abi.Code
	}{
		{"empty", "", 400, abi.CodeMalformed},
		{"white space", " \n\t", 400, abi.CodeMalformed},
		{"null", "null", 400, abi.CodeMalformed},
		{"a list", "[" + goodAsk + "]", 400, abi.CodeMalformed},
		{"text", `"` + "x" + `"`, 400, abi.CodeMalformed},
		{"truncated", goodAsk[:len(goodAsk)-1], 400, abi.CodeMalformed},
		{"trailing brace", goodAsk + "}", 400, abi.CodeMalformed},
		{"trailing word", goodAsk + " x", 400, abi.CodeMalformed},
		{"trailing NUL", goodAsk + "\x00", 400, abi.CodeMalformed},
		{"two objects", goodAsk + goodAsk, 400, abi.CodeMalformed},
		{"byte order mark", "\ufeff" + goodAsk, 400, abi.CodeMalformed},
		{"UTF-16", "{\x00\"\x00", 400, abi.CodeMalformed},
		{"comment", "/**/" + goodAsk, 400, abi.CodeMalformed},
		{"single quotes", strings.ReplaceAll(goodAsk, `"`, `'`), 400, abi.CodeMalformed},
		{"trailing comma", goodAsk[:len(goodAsk)-1] + ",}", 400, abi.CodeMalformed},
		{"leading comma", "{," + goodAsk[1:], 400, abi.CodeMalformed},
		{"missing colon", `{"subject" {}}`, 400, abi.CodeMalformed},
		{"key without quotes", object(alice, read, record1, `x:1`), 400, abi.CodeMalformed},
		{"number as key", object(alice, read, record1, `1:1`), 400, abi.CodeMalformed},
		{"invalid UTF-8", with("{\"a\":\"\xff\"}"), 400, abi.CodeMalformed},
		{"overlong UTF-8", with("{\"a\":\"\xc0\xaf\"}"), 400, abi.CodeMalformed},
		{"invalid UTF-8 in a key", with("{\"\xed\xa0\x80\":1}"), 400, abi.CodeMalformed},
		{"raw control character", with("{\"a\":\"\x01\"}"), 400, abi.CodeMalformed},
		{"raw NUL", with("{\"a\":\"\x00\"}"), 400, abi.CodeMalformed},
		{"raw newline", with("{\"a\":\"\n\"}"), 400, abi.CodeMalformed},
		{"bad escape", with(`{"a":"\x41"}`), 400, abi.CodeMalformed},
		{"short escape", with(`{"a":"\u00"}`), 400, abi.CodeMalformed},
		{"half a surrogate pair", object(`"subject":{"type":"user","id":"\ud800"}`, read, record1), 400, abi.CodeMalformed},
		{"repeated subject", object(alice, alice, read, record1), 400, abi.CodeMalformed},
		{"repeated subject, escaped", object(alice, `"\u0073ubject":{"type":"user","id":"bob"}`, read, record1), 400, abi.CodeMalformed},
		{"repeated id", object(`"subject":{"type":"user","id":"mallory","id":"alice"}`, read, record1), 400, abi.CodeMalformed},
		{"repeated property", with(`{"a":1,"b":2,"a":1}`), 400, abi.CodeMalformed},
		{"repeated key in an ignored field", object(alice, read, record1, `"x":{"a":1,"a":1}`), 400, abi.CodeMalformed},
		{"deep lists", with(`{"a":` + nested("[", "]", 30000) + `}`), 400, abi.CodeMalformed},
		{"deep maps", with(nested(`{"a":`, "}", 10000)), 400, abi.CodeMalformed},
		{"deep and open", with(strings.Repeat("[", 60000)), 400, abi.CodeMalformed},
		{"one level too deep", object(alice, read, record1, `"x":`+nested("[", "]", 32)), 400, abi.CodeMalformed},
		{"1e400", with(`{"a":1e400}`), 400, abi.CodeBadNumber},
		{"1e999999999999999999999", with(`{"a":1e999999999999999999999}`), 400, abi.CodeBadNumber},
		{"1e-400", with(`{"a":1e-400}`), 400, abi.CodeBadNumber},
		{"above int64", with(`{"a":9223372036854775808}`), 400, abi.CodeBadNumber},
		{"below int64", with(`{"a":-9223372036854775809}`), 400, abi.CodeBadNumber},
		{"too many digits", with(`{"a":0.12345678901234567890123}`), 400, abi.CodeBadNumber},
		{"sixty thousand digits", with(`{"a":` + strings.Repeat("7", 60000) + `}`), 400, abi.CodeBadNumber},
		{"bad number in an ignored field", object(alice, read, record1, `"x":1e400`), 400, abi.CodeBadNumber},
		{"leading zero", with(`{"a":01}`), 400, abi.CodeMalformed},
		{"plus sign", with(`{"a":+1}`), 400, abi.CodeMalformed},
		{"hexadecimal", with(`{"a":0x1}`), 400, abi.CodeMalformed},
		{"NaN", with(`{"a":NaN}`), 400, abi.CodeMalformed},
		{"Infinity", with(`{"a":-Infinity}`), 400, abi.CodeMalformed},
		{"point alone", with(`{"a":1.}`), 400, abi.CodeMalformed},
		{"True", with(`{"a":True}`), 400, abi.CodeMalformed},
		{"too large", with(`{"a":"` + strings.Repeat("x", MaxBody) + `"}`), 413, abi.CodeTooLarge},
		{"too large by white space", goodAsk + strings.Repeat(" ", MaxBody), 413, abi.CodeTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := &fakeNode{}
			s, log := newServer(t, node, nil)
			for _, path := range []string{evaluationPath, evaluationsPath} {
				wantProblem(t, call(s, "POST", path, c.body), c.status, c.code, "")
			}
			if len(node.questions()) != 0 {
				t.Error("the node was asked")
			}
			if strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "level=WARN") {
				t.Errorf("a caller's mistake is logged as the operator's: %.300s", log)
			}
			if len(log.String()) > 8*maxCause {
				t.Errorf("%d bytes of log for one mistake", len(log.String()))
			}
		})
	}
}

// TestHarmlessJSON sends odd but exact JSON.
func TestHarmlessJSON(t *testing.T) {
	for name, body := range map[string]string{
		"white space":          " \r\n\t" + goodAsk + " \n",
		"escapes":              strings.Replace(goodAsk, "alice", `\u0061li\u0063e`, 1),
		"escaped key":          strings.Replace(goodAsk, `"subject"`, `"\u0073ubject"`, 1),
		"escaped NUL":          object(alice, read, record1, `"context":{"a\u0000":"\u0000"}`),
		"surrogate pair":       object(alice, read, record1, `"context":{"a":"\ud83d\ude00"}`),
		"deep enough":          object(alice, read, record1, `"x":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)),
		"exact exponent":       object(alice, read, record1, `"context":{"a":1e18,"b":-0,"c":1.5E-3,"d":9223372036854775807}`),
		"empty key":            object(alice, read, record1, `"":{"":0}`),
		"exactly the limit":    goodAsk + strings.Repeat(" ", MaxBody-len(goodAsk)),
		"evaluations as extra": object(alice, read, record1, `"evaluation":[1],"options":{}`),
	} {
		s, _ := newServer(t, &fakeNode{}, nil)
		for _, path := range []string{evaluationPath, evaluationsPath} {
			if got := decode(t, call(s, "POST", path, body)); got.decisions() != "+" {
				t.Errorf("%s: %+v", name, got.Error)
			}
		}
	}
}

// endless never ends, so the declared length says nothing.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// FuzzRequest throws requests at the handler: it must not panic, must answer
// in JSON, and may only permit what the standard library's strict reading of
// the body shows to be a complete request.
func FuzzRequest(f *testing.F) {
	f.Add("POST", evaluationPath, "application/json", "Bearer "+goodToken, []byte(goodAsk))
	f.Add("POST", evaluationsPath, "application/json; charset=utf-8", "Bearer "+goodToken, []byte(`{`+alice+`,"options":{"evaluations_semantic":"permit_on_first_permit"},"evaluations":[{},`+goodAsk+`]}`))
	f.Add("POST", "/domains/annex"+evaluationPath, "application/json", "Bearer "+annexToken, []byte(`{"subject":{"type":"user","id":"alice","id":"bob"}}`))
	f.Add("GET", wellKnown+"/domains/annex", "", "", []byte(nil))
	f.Add("POST", "/domains/%2e%2e/", "application/json", "Bearer "+goodToken, []byte(`{"context":{"a":1e400}}`))
	f.Add("HEAD", "/readyz", "text/plain", "Basic x", []byte("\xef\xbb\xbf{}"))
	node := &fakeNode{}
	s, _ := newServer(f, node, nil)
	f.Fuzz(func(t *testing.T, method, path, contentType, authorization string, content []byte) {
		r, err := http.NewRequest(method, "https://localhost", strings.NewReader(string(content)))
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		u, err := r.URL.Parse(path)
		if err != nil {
			return
		}
		r.URL = u
		r.Header = http.Header{"Content-Type": {contentType}, "Authorization": {authorization}}
		node.mu.Lock()
		node.asked = nil
		node.mu.Unlock()
		checkAnswer(t, s, r, content)
	})
}

func checkAnswer(t *testing.T, s *Server, r *http.Request, content []byte) {
	w := newRecorder()
	s.ServeHTTP(w, r)
	if !json.Valid(w.body) {
		t.Fatalf("%s %s: status %d with no JSON: %q", r.Method, r.URL, w.status, w.body)
	}
	permits := strings.Contains(string(w.body), `"decision":true`)
	if permits && (w.status != 200 || !json.Valid(content)) {
		t.Fatalf("a permit with status %d for %q", w.status, content)
	}
	if strings.Contains(string(w.body), abi.CodeInternal.Name()) && w.status != 500 {
		t.Fatalf("the node got a request that it cannot read, for %q", content)
	}
	select {
	case err := <-s.fault:
		t.Fatal(err)
	default:
	}
}

// recorder is a bare ResponseWriter.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) { w.status = status }

func (w *recorder) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}

// FuzzBody compares what the node is asked with what the standard library
// reads in the same body: whatever is accepted, both read alike.
func FuzzBody(f *testing.F) {
	f.Add([]byte(goodAsk))
	f.Add([]byte(object(admin, write, record2, `"context":{"t":[1,-2.5,null,true,"x"]},"evaluations":[]`)))
	f.Add([]byte(`{"subject":{"type":"\u0075","id":"\ud83d\ude00","properties":{}},"action":{"name":"\u0000"},"resource":{"type":"a","id":"b"}}`))
	f.Add([]byte(`{"subject":{"type":"a","id":"\ud800"},"action":{"name":"c"},"resource":{"type":"a","id":"b","id":"c"}}`))
	node := &fakeNode{policy: func(*abi.DecisionRequest) bool { return true }}
	s, _ := newServer(f, node, func(c *Config) { c.Logger = nil })
	f.Fuzz(func(t *testing.T, content []byte) {
		node.mu.Lock()
		node.asked = nil
		node.mu.Unlock()
		resp := call(s, "POST", evaluationPath, string(content))
		got := decode(t, resp)
		asked := node.questions()
		permit := got.Decision != nil && *got.Decision
		if permit != (resp.StatusCode == 200) || permit != (len(asked) == 1) || permit == (got.Error != nil) {
			t.Fatalf("status %d, %d questions, %+v", resp.StatusCode, len(asked), got)
		}
		if permit {
			compare(t, &asked[0].request, content)
		}
	})
}

func compare(t *testing.T, q *abi.DecisionRequest, content []byte) {
	var loose map[string]any
	if err := json.Unmarshal(content, &loose); err != nil {
		t.Fatalf("accepted, but no JSON: %v", err)
	}
	std := map[string]map[string]any{} // the members that are objects
	for name, value := range loose {
		if m, ok := value.(map[string]any); ok {
			std[name] = m
		}
	}
	for _, c := range []struct{ entity, field, got string }{
		{"subject", "type", q.Subject.Type}, {"subject", "id", q.Subject.ID}, {"action", "name", q.Action.Name},
		{"resource", "type", q.Resource.Type}, {"resource", "id", q.Resource.ID},
	} {
		if want, ok := std[c.entity][c.field].(string); !ok || c.got != want {
			t.Errorf("%s.%s is %q, the standard library reads %q", c.entity, c.field, c.got, want)
		}
	}
	for _, c := range []struct {
		want any
		got  []byte
	}{
		{std["subject"]["properties"], q.Subject.Properties}, {std["action"]["properties"], q.Action.Properties},
		{std["resource"]["properties"], q.Resource.Properties}, {loose["context"], q.Context},
	} {
		compareMap(t, c.want, c.got)
	}
}

// compareMap compares through JSON: floats on both sides, so that only more
// than the last digits' difference shows.
func compareMap(t *testing.T, want any, encoded []byte) {
	text := []byte("{}")
	if encoded != nil {
		var err error
		if text, err = cbor.AppendAsJSON(nil, encoded); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]any{}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if want == nil {
		want = map[string]any{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the node got %s, the standard library reads %v", text, want)
	}
}

func TestEndlessBody(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	src := &endless{}
	r := newRequest("https://localhost"+evaluationPath, "")
	r.Body, r.ContentLength = io.NopCloser(src), -1
	w := newRecorder()
	s.ServeHTTP(w, r)
	if w.status != 413 {
		t.Errorf("status %d", w.status)
	}
	if src.read > 4*MaxBody {
		t.Errorf("%d bytes were read", src.read)
	}
}

// TestStrangersBodyIsNotRead holds that a caller without a token cannot make
// the node read, and that refusals before the body leave it alone.
func TestStrangersBodyIsNotRead(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	for _, header := range []http.Header{
		{"Content-Type": {"application/json"}},
		{"Content-Type": {"application/json"}, "Authorization": {"Bearer nobody"}},
		{"Content-Type": {"text/plain"}, "Authorization": {"Bearer " + goodToken}},
		{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + goodToken}}, // too long by its own word
	} {
		src := &endless{}
		r, err := http.NewRequest("POST", "https://localhost"+evaluationPath, src)
		if err != nil {
			t.Fatal(err)
		}
		r.Header, r.ContentLength = header, MaxBody+1
		s.ServeHTTP(newRecorder(), r)
		if src.read != 0 {
			t.Errorf("%v: %d bytes of the body were read", header, src.read)
		}
	}
}
