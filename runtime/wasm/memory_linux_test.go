package wasm

// memoryKinds are the ways in which memories can be set back here; each makes
// a new Runtime use it.
func memoryKinds() map[string]func(*Runtime) {
	return map[string]func(*Runtime){
		"pagemap": func(r *Runtime) {
			if r.images == nil || r.images.pagemap < 0 {
				panic("this system does not tell which pages were written")
			}
		},
		"no pagemap": func(r *Runtime) { r.images.closePagemap() },
		"plain": func(r *Runtime) {
			r.images.close()
			r.images = nil
		},
	}
}
