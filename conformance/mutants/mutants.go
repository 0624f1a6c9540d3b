package main

import "slices"

// mutant is one fault, and the case that names it: the kit is to fail that case.
type mutant struct {
	Name string
	// Cases are those that must fail, each of them.
	Cases []string
	// On is the component that has the fault, as --component takes it; empty for
	// the plugin as a whole.
	On string
	// Upgrade says that it takes over from the good plugin, as an older version.
	Upgrade bool
	// Wire says that the fault is put in between (wire.go), not into a component.
	Wire bool
}

func find(name string) *mutant {
	i := slices.IndexFunc(mutants, func(m mutant) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &mutants[i]
}

const (
	pagesOn = "source:pages"
	markOn  = "operator:mark"
	tallyOn = "operator:tally"
	rowsOn  = "sink:rows"
)

func in(on, name string, cases ...string) mutant { return mutant{Name: name, Cases: cases, On: on} }

func between(on, name string, cases ...string) mutant {
	return mutant{Name: name, Cases: cases, On: on, Wire: true}
}

func upgrade(on, name string, cases ...string) mutant {
	return mutant{Name: name, Cases: cases, On: on, Upgrade: true}
}

// mutants are all faults. A name never changes its meaning.
var mutants = []mutant{
	// The process.
	between("", "prints-before-the-handshake", "WC-PRC-001"),
	between("", "ignores-every-end", "WC-PRC-002"),
	between("", "ends-with-a-status", "WC-PRC-002"),
	between("", "ignores-the-lifeline", "WC-PRC-003"),
	between(markOn, "waits-for-its-tasks", "WC-PRC-004"),
	between("", "says-nothing-by-hand", "WC-PRC-009"),
	in(rowsOn, "sink-leaves-a-process", "WC-PRC-005"),
	in(rowsOn, "sink-leaves-a-temporary-file", "WC-PRC-006"),
	in(rowsOn, "sink-leaves-a-file-in-its-folder", "WC-PRC-006"),
	in(rowsOn, "sink-listens", "WC-PRC-007"),
	in(rowsOn, "sink-prints", "WC-PRC-008"),

	// Describe.
	between("", "describe-changes", "WC-DSC-001"),
	between("", "describe-lacks-a-summary", "WC-DSC-002"),
	between("", "describe-has-a-broken-default", "WC-DSC-002"),
	between("", "describe-claims-what-its-kind-cannot", "WC-DSC-002"),

	// Validate.
	between(pagesOn, "validate-accepts-everything", "WC-CFG-001", "WC-CFG-002"),
	between(pagesOn, "validate-ignores-bounds", "WC-CFG-001"),
	between(pagesOn, "validate-ignores-unknown-fields", "WC-CFG-001"),
	between(pagesOn, "validate-ignores-required-fields", "WC-CFG-001"),
	between(pagesOn, "validate-ignores-types", "WC-CFG-001"),
	between(pagesOn, "validate-ignores-allowed-values", "WC-CFG-001"),
	between(pagesOn, "validate-ignores-patterns", "WC-CFG-001"),
	between(pagesOn, "validate-points-elsewhere", "WC-CFG-001"),
	between(pagesOn, "validate-tells-the-first-fault-alone", "WC-CFG-002"),
	between(pagesOn, "validate-says-nothing", "WC-CFG-003"),
	between(pagesOn, "validate-ends-the-process-on-nonsense", "WC-CFG-004"),
	between(markOn, "validate-claims-more", "WC-CFG-005"),
	between(markOn, "validate-answers-differently", "WC-CFG-005"),
	between(pagesOn, "validate-tells-the-secret", "WC-CFG-006"),
	in(pagesOn, "source-secret-in-log", "WC-CFG-006"),
	between(markOn, "opens-what-it-refuses", "WC-CFG-007"),

	// The life of a task.
	in(rowsOn, "sink-leaks-its-lock", "WC-LIF-001"),
	between(markOn, "closed-is-not-said", "WC-LIF-001"),
	between(markOn, "close-is-not-heard", "WC-LIF-002"),
	in(markOn, "operator-ignores-ctx", "WC-LIF-002"),
	between(markOn, "barriers-come-twice", "WC-LIF-003"),
	between(markOn, "barriers-lose-their-flags", "WC-LIF-003"),
	between(markOn, "barriers-are-lost", "WC-LIF-003"),
	between(markOn, "snapshots-do-not-end", "WC-LIF-003"),
	between(markOn, "data-comes-behind-a-halt", "WC-LIF-004"),
	between(markOn, "control-end-is-ignored", "WC-LIF-006"),
	between(markOn, "lease-is-ignored", "WC-LIF-007"),
	between(markOn, "open-has-no-fence", "WC-LIF-008"),
	between(markOn, "unknown-fields-are-refused", "WC-LIF-010"),
	between(markOn, "unknown-messages-end-the-task", "WC-LIF-010"),
	between(pagesOn, "restore-parts-are-not-joined", "WC-LIF-011"),
	between("", "opens-what-is-not-there", "WC-LIF-012"),

	// Broken and newer hosts.
	between(markOn, "nonsense-frames-end-the-process", "WC-ROB-001"),
	between(markOn, "lies-are-believed", "WC-ROB-002"),
	between(markOn, "run-without-a-task-waits", "WC-ROB-003"),
	between("", "control-without-open-waits", "WC-ROB-004"),
	between(markOn, "nonsense-state-ends-the-process", "WC-ROB-005"),
	between(markOn, "opens-a-task-twice", "WC-ROB-006"),

	// Sources.
	in(pagesOn, "source-loses-the-last", "WC-SRC-001", "WC-SRC-004"),
	between(pagesOn, "a-batch-is-sent-twice", "WC-SRC-001"),
	between(pagesOn, "a-split-is-assigned-twice", "WC-SRC-001"),
	in(pagesOn, "source-shuffles", "WC-SRC-002"),
	in(pagesOn, "source-never-ends", "WC-SRC-003"),
	between(pagesOn, "no-more-splits-comes-twice", "WC-SRC-003"),
	between(pagesOn, "no-more-splits-is-lost", "WC-SRC-003"),
	between(pagesOn, "exhausted-is-not-said", "WC-SRC-003"),
	between(pagesOn, "splits-do-not-end", "WC-SRC-003"),
	between(pagesOn, "splits-are-not-opened", "WC-SRC-009"),
	in(pagesOn, "source-drops-empty", "WC-SRC-005"),
	in(pagesOn, "source-null-is-empty", "WC-SRC-005"),
	in(pagesOn, "source-mangles-bytes", "WC-SRC-005"),
	in(pagesOn, "source-drops-headers", "WC-SRC-005"),
	in(pagesOn, "source-drops-repeated-headers", "WC-SRC-005"),
	in(pagesOn, "source-truncates-huge", "WC-SRC-006"),
	in(pagesOn, "source-drops-huge", "WC-SRC-006", "WC-SRC-007"),
	between(pagesOn, "max-record-is-ignored", "WC-SRC-007"),
	in(pagesOn, "source-lists-once", "WC-SRC-008"),
	between(pagesOn, "origins-are-left-out", "WC-SRC-009"),
	between(pagesOn, "ordinals-do-not-count", "WC-SRC-009"),
	between(pagesOn, "changed-is-not-said", "WC-SRC-010"),
	in(pagesOn, "source-repeats-a-record", "WC-SRC-020"),
	in(pagesOn, "source-skips-a-record", "WC-SRC-020"),
	in(pagesOn, "source-starts-over", "WC-SRC-020"),
	in(pagesOn, "source-position-one-read-late", "WC-SRC-020"),
	between(pagesOn, "snapshots-are-one-late", "WC-SRC-020"),
	between(pagesOn, "snapshots-lose-their-entries", "WC-SRC-020"),
	between(pagesOn, "barriers-overtake-data", "WC-SRC-020"),
	in(pagesOn, "source-positions-in-memory", "WC-SRC-021"),
	between(pagesOn, "state-is-not-restored", "WC-SRC-022", "WC-SRC-026"),
	in(pagesOn, "source-stamps-now", "WC-SRC-023"),
	in(pagesOn, "source-random-split-ids", "WC-SRC-001"),

	// Operators.
	in(markOn, "operator-drops-headers", "WC-OPR-001"),
	in(markOn, "operator-drops-the-first-of-a-batch", "WC-OPR-002"),
	in(markOn, "operator-doubles-the-last-of-a-batch", "WC-OPR-002"),
	in(markOn, "operator-keeps-a-view", "WC-OPR-002"),
	in(markOn, "operator-lags-by-one", "WC-OPR-003"),
	between(markOn, "barriers-overtake-data", "WC-OPR-003"),
	in(markOn, "operator-loses-the-end", "WC-OPR-004"),
	in(markOn, "operator-reorders", "WC-OPR-005"),
	in(markOn, "operator-changes-the-key", "WC-OPR-006"),
	in(markOn, "operator-null-key-is-empty", "WC-OPR-006"),
	in(markOn, "operator-panics-on-empty", "WC-OPR-007"),
	in(markOn, "operator-fails-on-null", "WC-OPR-007"),
	in(markOn, "operator-wrong-error-index", "WC-OPR-008"),
	in(markOn, "operator-fails-the-whole-batch", "WC-OPR-008"),
	in(markOn, "operator-drops-the-bad", "WC-OPR-008"),
	in(markOn, "operator-passes-the-bad", "WC-OPR-008"),
	in(markOn, "operator-fails-the-task", "WC-OPR-008"),
	between(markOn, "dead-letters-do-not-say-why", "WC-OPR-008"),
	between(markOn, "dead-letters-are-cut", "WC-OPR-008"),
	between(markOn, "failure-policy-is-ignored", "WC-OPR-008"),
	in(markOn, "operator-shares-state", "WC-OPR-009"),
	in(markOn, "operator-counts-in-the-process", "WC-OPR-009"),
	between(markOn, "tasks-are-mixed", "WC-OPR-009"),
	in(markOn, "operator-counts-in-memory", "WC-OPR-010"),
	between(markOn, "watermarks-are-lost", "WC-OPR-011"),
	between(markOn, "watermarks-leave-on-one-output", "WC-OPR-011"),
	between(markOn, "watermarks-go-back", "WC-OPR-011"),
	between(markOn, "watermarks-overtake-data", "WC-OPR-011"),
	between(markOn, "idle-is-lost", "WC-OPR-011"),
	between(markOn, "queues-without-end", "WC-OPR-012"),
	between(markOn, "chains-are-cut", "WC-OPR-013"),

	// State by key, and time.
	between(tallyOn, "half-of-the-groups-are-restored", "WC-OPR-015", "WC-STA-030"),
	in(tallyOn, "tally-fires-what-was-deleted", "WC-STA-001"),
	in(tallyOn, "tally-fires-in-any-order", "WC-STA-001"),
	in(tallyOn, "tally-fires-a-watermark-late", "WC-STA-001"),
	between(tallyOn, "timers-are-not-restored", "WC-STA-002", "WC-STA-022"),
	between(tallyOn, "the-watermark-is-not-restored", "WC-STA-002"),
	in(tallyOn, "tally-goes-on-from-the-key-before", "WC-STA-003"),
	between(tallyOn, "snapshots-hold-groups-of-others", "WC-STA-004"),
	between(tallyOn, "groups-are-one-off", "WC-STA-005"),
	between(tallyOn, "barriers-lag-behind", "WC-STA-006"),
	between(tallyOn, "snapshots-hold-changes-alone", "WC-STA-006"),
	in(tallyOn, "tally-is-slow-with-much-state", "WC-STA-007"),
	in(tallyOn, "tally-goes-by-the-watermark", "WC-STA-020"),
	in(tallyOn, "tally-stamps-the-beginning", "WC-STA-021"),
	in(tallyOn, "tally-fires-by-the-clock-again", "WC-STA-022"),
	in(tallyOn, "tally-keeps-what-is-over", "WC-STA-023"),

	// State on disk.
	between(tallyOn, "files-are-not-restored", "WC-STA-040"),
	between(tallyOn, "files-of-one-store-are-restored", "WC-STA-041"),
	between(tallyOn, "files-change-once-they-are-named", "WC-STA-042"),
	between(tallyOn, "damaged-files-are-left-out", "WC-STA-043"),
	between(tallyOn, "outcomes-of-checkpoints-are-not-heard", "WC-STA-044"),

	// Sinks.
	in(rowsOn, "sink-doubles-the-last-of-a-batch", "WC-SNK-001"),
	in(rowsOn, "sink-keeps-a-view", "WC-SNK-001"),
	in(rowsOn, "sink-commit-is-a-lie", "WC-SNK-001"),
	in(rowsOn, "sink-keeps-a-few-back", "WC-SNK-002"),
	in(rowsOn, "sink-null-is-empty", "WC-SNK-003"),
	in(rowsOn, "sink-empty-key-is-null", "WC-SNK-003"),
	in(rowsOn, "sink-mangles-bytes", "WC-SNK-003"),
	in(rowsOn, "sink-drops-headers", "WC-SNK-003"),
	in(rowsOn, "sink-rounds-times", "WC-SNK-001"),
	in(rowsOn, "sink-drops-huge", "WC-SNK-004"),
	in(rowsOn, "sink-commits-at-prepare", "WC-SNK-005"),
	in(rowsOn, "sink-publishes-as-it-writes", "WC-SNK-005"),
	in(rowsOn, "sink-ignores-roll", "WC-SNK-006"),
	in(rowsOn, "sink-commit-doubles", "WC-SNK-007"),
	in(rowsOn, "sink-commit-refuses-a-repetition", "WC-SNK-007"),
	in(rowsOn, "sink-one-name-for-all-checkpoints", "WC-SNK-008"),
	in(rowsOn, "sink-drops-what-was-not-committed", "WC-SNK-009"),
	in(rowsOn, "sink-commits-only-the-newest", "WC-SNK-009"),
	in(rowsOn, "sink-repeats-what-it-named", "WC-SNK-010"),
	between(rowsOn, "commit-refuses-nothing-to-commit", "WC-SNK-010"),
	in(rowsOn, "sink-names-without-task", "WC-SNK-011"),
	in(rowsOn, "sink-wrong-error-index", "WC-SNK-012"),
	in(rowsOn, "sink-fails-the-whole-batch", "WC-SNK-012"),
	in(rowsOn, "sink-drops-the-bad", "WC-SNK-012"),
	between(rowsOn, "commit-accepts-nonsense", "WC-SNK-013"),
	between(rowsOn, "commit-ends-the-process-on-nonsense", "WC-SNK-013"),
	in(rowsOn, "sink-forgets-writer-state", "WC-SNK-020"),
	in(rowsOn, "sink-takes-over-too-much", "WC-SNK-021"),
	in(rowsOn, "sink-does-not-flush", "WC-SNK-022"),
	in(rowsOn, "sink-publishes-leftovers-at-open", "WC-SNK-030"),
	in(rowsOn, "sink-commit-needs-memory", "WC-SNK-022"),
	in(rowsOn, "sink-marks-before-it-publishes", "WC-SNK-023"),
	in(rowsOn, "sink-takes-one-writer-state", "WC-SNK-026"),
	in(rowsOn, "sink-names-without-epoch", "WC-SNK-030"),
	between(rowsOn, "commit-has-no-fence", "WC-SNK-031"),
	between(rowsOn, "sweep-has-no-fence", "WC-SNK-031"),
	in(rowsOn, "sweep-removes-what-a-record-names", "WC-SNK-032"),
	in(rowsOn, "sweep-removes-everything", "WC-SNK-033"),
	in(rowsOn, "sweep-takes-prefixes", "WC-SNK-033"),
	in(rowsOn, "sweep-removes-what-is-published", "WC-SNK-020"),
	in(rowsOn, "sweep-does-nothing", "WC-SNK-034"),
	in(rowsOn, "sweep-looks-at-the-first-task-alone", "WC-SNK-034"),
	in(rowsOn, "retract-does-nothing", "WC-SNK-035"),
	in(rowsOn, "retract-removes-too-much", "WC-SNK-035"),

	// Versions.
	upgrade(pagesOn, "source-counts-positions-anew", "WC-SRC-027"),
	upgrade(markOn, "operator-counts-in-memory", "WC-OPR-014"),
	upgrade(tallyOn, "tally-renames-its-state", "WC-OPR-014"),
	upgrade(rowsOn, "sink-forgets-writer-state", "WC-SNK-036"),
	upgrade(rowsOn, "sink-reads-new-committables-alone", "WC-SNK-036"),
}
