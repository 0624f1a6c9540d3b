package conformance

import "slices"

// Subject is a group of cases that share the middle of their ids.
type Subject struct {
	Code, Title string
	Cases       []Case
}

// Subjects are all cases by subject, in the order in which they are run.
func Subjects() []Subject {
	return []Subject{
		{"PRC", "The process", processCases},
		{"DSC", "Describe", describeCases},
		{"CFG", "Configuration", configCases},
		{"LIF", "The life of a task", lifeCases},
		{"ROB", "Broken and newer hosts", robustCases},
		{"SRC", "Sources", slices.Concat(sourceCases, sourceResumeCases)},
		{"OPR", "Operators", operatorCases},
		{"STA", "State by key, and time", slices.Concat(stateCases, timeCases, stateRandomCases, diskCases)},
		{"SNK", "Sinks", slices.Concat(sinkCases, sinkCrashCases, sinkEpochCases)},
	}
}

// Cases are all cases in the order in which they are run.
func Cases() []*Case {
	var out []*Case
	for _, s := range Subjects() {
		for i := range s.Cases {
			out = append(out, &s.Cases[i])
		}
	}
	return slices.Clip(out)
}
