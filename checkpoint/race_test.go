//go:build race

package checkpoint_test

// raceDetector slows the simulation down tenfold.
const raceDetector = true
