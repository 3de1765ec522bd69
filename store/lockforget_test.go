package store

// ForgetLocks makes the next change at a lock count anew, as after a start.
func ForgetLocks(s *Store) {
	s.writer <- struct{}{}
	s.forgetLocks()
	<-s.writer
}
