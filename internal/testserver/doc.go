// Command testserver starts the servers that Weir's tests run against for a
// person's own trial, and stops them:
//
//	go run ./internal/testserver kafka up
//	go run ./internal/testserver kafka topic NAME PARTITIONS
//	go run ./internal/testserver kafka down
//
//	go run ./internal/testserver zookeeper up NODES
//	go run ./internal/testserver zookeeper cli COMMAND...
//	go run ./internal/testserver zookeeper down
//
// They are what their projects publish, from Maven Central, as plain java
// processes on loopback. The Makefile has a target for each.
package main
