package engine

// Step names a moment in a pipeline's life at which something may die. Tests
// hook into them (Config.OnStep); nothing else does.
type Step string

// The steps, in the order in which an epoch takes them.
const (
	StepBeginning      Step = "beginning"       // before the ledger's Begin
	StepBegun          Step = "begun"           // the epoch exists, nothing is chosen
	StepAdopted        Step = "adopted"         // the checkpoint to restore is chosen and noted
	StepProcesses      Step = "processes"       // plugin processes are running
	StepRecommitting   Step = "recommitting"    // before the restored output is committed
	StepRecommitted    Step = "recommitted"     // it is committed, which is not yet noted
	StepSweeping       Step = "sweeping"        // committed_through is noted, before the sweep
	StepSwept          Step = "swept"           // before that is noted
	StepOpening        Step = "opening"         // before the first task opens
	StepOpened         Step = "opened"          // every task is open, no data flows
	StepRunning        Step = "running"         // data flows
	StepPending        Step = "pending"         // a checkpoint number is allocated
	StepBarrier        Step = "barrier"         // the barrier is in the enumerators' inputs
	StepSnapshot       Step = "snapshot"        // a task has delivered its snapshot
	StepStored         Step = "stored"          // and it is in storage
	StepAcked          Step = "acked"           // before the manifest is written
	StepManifest       Step = "manifest"        // the manifest is in storage
	StepRecording      Step = "recording"       // before the record is written
	StepRecorded       Step = "recorded"        // the record is durable, nobody knows
	StepCommitting     Step = "committing"      // before a sink's Commit is called
	StepCommitted      Step = "committed"       // it has answered
	StepSavingThrough  Step = "saving through"  // before committed_through is noted
	StepSavedThrough   Step = "saved through"   // it is
	StepRetained       Step = "retained"        // older checkpoints are gone
	StepMarkingFinish  Step = "marking finish"  // before finished is noted
	StepMarkedFinished Step = "marked finished" // it is
	StepClosing        Step = "closing"         // before the tasks are closed
)

// Steps lists all of them in order.
func Steps() []Step {
	return []Step{
		StepBeginning, StepBegun, StepAdopted, StepProcesses, StepRecommitting, StepRecommitted, StepSweeping,
		StepSwept, StepOpening, StepOpened, StepRunning, StepPending, StepBarrier, StepSnapshot, StepStored,
		StepAcked, StepManifest, StepRecording, StepRecorded, StepCommitting, StepCommitted, StepSavingThrough,
		StepSavedThrough, StepRetained, StepMarkingFinish, StepMarkedFinished, StepClosing,
	}
}
