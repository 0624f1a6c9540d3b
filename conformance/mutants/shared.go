package main

import "sync"

// What broken components keep in the process.
var (
	prepared sync.Map
	locked   sync.Mutex
)
