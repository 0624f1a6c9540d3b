package recordbatch

import "encoding/binary"

// usual reads a record as nearly all are: each of its numbers takes at most three
// bytes, it has less than 64 headers, and some bytes follow it. It leaves any other,
// and one that is corrupt, to [Records.any]: then it has read nothing and says no.
// What it reads, any would read the same, in twice the time.
func (rs *Records) usual(r *Record) bool {
	const numbers = 5 * 4 // of which each is read as a word
	b := rs.rest
	if len(b) < numbers+1 {
		return false
	}
	size, n := shortVarint(binary.LittleEndian.Uint32(b))
	end := n + int(size>>1)
	if n == 0 || size&1 != 0 || end > len(b)-4 {
		return false
	}
	at := n + 1 // behind the attributes, which mean nothing
	time, n := shortVarint(binary.LittleEndian.Uint32(b[at:]))
	at += n
	offset, m := shortVarint(binary.LittleEndian.Uint32(b[at:]))
	at += m
	if n == 0 || m == 0 || offset&1 != 0 {
		return false
	}
	key, at := shortBytes(b, at, end)
	if at == 0 {
		return false
	}
	value, at := shortBytes(b, at, end)
	if at == 0 || at >= end {
		return false
	}
	headers := int(b[at])
	at++
	if headers >= 0x80 || headers&1 != 0 || headers>>1 > end-at {
		return false
	}
	last := rs.batch.BaseOffset + int64(offset>>1)
	if last > rs.batch.LastOffset {
		return false
	}
	r.Offset, r.Time = last, rs.timeOf(int64(time>>1)^-int64(time&1))
	r.Key, r.Value = key, value
	r.HeaderCount, r.Headers = headers>>1, b[at:end:end]
	rs.rest = b[end:]
	return true
}

// shortVarint reads a varint of n bytes, at most three, from the little-endian word
// that it begins. n is 0 where it is longer.
func shortVarint(word uint32) (v uint32, n int) {
	switch {
	case word&0x80 == 0:
		return word & 0x7f, 1
	case word&0x8000 == 0:
		return word&0x7f | word>>1&0x3f80, 2
	case word&0x800000 == 0:
		return word&0x7f | word>>1&0x3f80 | word>>2&0x1fc000, 3
	}
	return 0, 0
}

// shortBytes reads a length and so many bytes, all in front of end; nil is null. next
// is 0 where it cannot. Four bytes more than end can be read.
func shortBytes(b []byte, at, end int) (v []byte, next int) {
	if at > end {
		return nil, 0
	}
	size, n := shortVarint(binary.LittleEndian.Uint32(b[at:]))
	at += n
	switch {
	case n == 0:
		return nil, 0
	case size == 1:
		return nil, at
	}
	next = at + int(size>>1)
	if size&1 != 0 || next > end {
		return nil, 0
	}
	return b[at:next:next], next
}
