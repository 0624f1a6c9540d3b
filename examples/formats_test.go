package examples_test

import (
	"os"
	"testing"
)

func TestFormats(t *testing.T) {
	l := newLab(t, "formats")
	l.run()
	text, err := os.ReadFile(l.out("stock.csv"))
	if want := `id,article,price
1,SCREW M4,0.05
2,"BRACKET, ""SHORT""",1.50
9007199254740993,ANGLE,1234567890123456789.99
`; err != nil || string(text) != want {
		t.Errorf("stock.csv is\n%s\nwant\n%s", text, want)
	}
	same(t, "feed.jsonl", l.lines("feed.jsonl"), []string{
		`{"id":1,"article":"SCREW M4","price":0.05,"stock":12000,"remarks":null}`,
		`{"id":2,"article":"BRACKET, \"SHORT\"","price":1.50,"stock":310,"remarks":"two lines:\nfirst, second"}`,
		`{"id":9007199254740993,"article":"ANGLE","price":1234567890123456789.99,"stock":1,"remarks":"a very long number"}`,
	})
	same(t, "bad.txt", l.lines("bad.txt"), []string{"3;Washer;0,02;9000;\r", "5;Disk 5\" ;3.10;7;\r", "7;Chain;4.20;15\r"})
	l.noLeftovers()
}
