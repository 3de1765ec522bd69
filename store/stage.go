package store

// stage is an import that is built beside the live credentials. It notes what
// others change meanwhile.
type stage struct {
	dirty map[credKey]struct{}
}

// touch notes credentials that a change touched. The writer is held.
func (st *stage) touch(keys []credKey) {
	for _, k := range keys {
		st.dirty[k] = struct{}{}
	}
}
