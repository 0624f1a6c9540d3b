// Package cluster makes several hosts and a coordination service one highly
// available system: hosts register, one of them leads, pipelines are submitted,
// placed, run and moved, and whatever dies is replaced.
//
// # Who does what
//
//	Node       one host process: its session, its record, its part in the election
//	registry   which hosts there are, as the leader sees it
//	agent      this host's tasks: one follower a pipeline
//	follower   follows a pipeline's assignment with an engine.Worker
//	leadership what the elected host does: one job a pipeline, and the balance
//	job        a pipeline's desired and actual state, with an engine.Leader
//	link       how that leader reaches the hosts: engine.Hosts over records
//	schedule   which task goes to which host, a pure function
//	Client     what a person asks for, written as records; any host can do it
//
// # Records
//
// Below the cluster's root, all JSON:
//
//	elections/leader/<random>      ephemeral contenders; the first leads
//	hosts/<id>                     ephemeral Host, by the host itself
//	drains/<id>                    there while somebody wants the host empty
//	assigned/<id>/<name>           empty: the host has a part in the pipeline; by the
//	                               leader, with the assignment
//	pipelines/<name>/spec          Spec, by whoever submits
//	pipelines/<name>/desired       Desired, by whoever asks
//	pipelines/<name>/log-levels    journal.Levels, by whoever asks; each host with
//	                               tasks follows it
//	pipelines/<name>/wanted/<savepoint>   Wanted, by whoever asks for one; the leader
//	                               says there how it went
//	pipelines/<name>/moves/<id>    Moving, by whoever asks for other positions; the
//	                               leader says there how it went
//	pipelines/<name>/status        Status, by the leader, under its guard
//	pipelines/<name>/errors        Failures, by the leader, under its guard
//	pipelines/<name>/assignment    Assignment, by the leader, under its guard
//	pipelines/<name>/reports/<id>  Report, by each host with tasks
//	pipelines/<name>/progress/<id> Progress, by each host with tasks, at most
//	                               every two seconds
//	pipelines/<name>/epoch, checkpoints/...   see package checkpoint
//
// # One epoch
//
// The leader writes the assignment with its first phase, and each host reports the
// phases that it has done; when all have, the leader writes the next. From then on
// a checkpoint needs no word between them: its pending record is the barrier that
// the hosts follow, their acks lie below it, and its record, or its absence, is the
// outcome. So a leader may be replaced at any moment, and no task notices.
package cluster
