//go:build !cgo

package main

func errWithLibc() error { return nil }
