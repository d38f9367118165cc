package main

func (r *results) tables() string        { return "" }
func (r *results) document(string) error { return nil }
