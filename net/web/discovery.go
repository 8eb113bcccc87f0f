package web

import (
	"net/http"
	"strings"
)

// serveDiscovery tells where the endpoints of a domain's decision point are
// (Authorization API 1.0 section 9). The document follows from the URL alone:
// it costs no look-up and does not tell strangers which domains exist.
func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request, rt *route) {
	origin := s.base
	if origin == "" {
		if !validHost(r.Host) {
			s.refuse(w, r, problemHost, nil)
			return
		}
		origin = "https://" + r.Host
	} else {
		w.Header().Set("Cache-Control", "public, max-age=3600")
	}
	point := origin + rt.path
	b := append([]byte(nil), `{"policy_decision_point":`...)
	b = appendString(b, point)
	b = append(b, `,"access_evaluation_endpoint":`...)
	b = appendString(b, point+evaluationPath)
	b = append(b, `,"access_evaluations_endpoint":`...)
	b = appendString(b, point+evaluationsPath)
	if s.search != nil {
		b = append(b, `,"search_subject_endpoint":`...)
		b = appendString(b, point+searchSubjectPath)
		b = append(b, `,"search_action_endpoint":`...)
		b = appendString(b, point+searchActionPath)
		b = append(b, `,"search_resource_endpoint":`...)
		b = appendString(b, point+searchResourcePath)
	}
	writeJSON(w, http.StatusOK, append(b, '}'))
}

// validHost says whether s may stand between "https://" and a path: letters,
// digits and what IP literals and ports need, and nothing that ends or splits
// an authority.
func validHost(s string) bool {
	if s == "" || len(s) > 255+len(":65535") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return true
}
