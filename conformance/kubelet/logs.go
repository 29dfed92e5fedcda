package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// output is where a container writes to.
type output struct {
	pipe    *os.File      // for the program
	written chan struct{} // closed when all it said is in the log
}

// openLog makes the log of one run of a container: dir/NUMBER.log, each line with its time in front.
func openLog(dir string, number int32) (*output, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(logFile(dir, number), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		file.Close()
		return nil, err
	}
	o := &output{pipe: w, written: make(chan struct{})}
	go func() {
		defer close(o.written)
		if err := stamp(r, file); err != nil {
			log.Printf("%s: %v", file.Name(), err)
		}
		r.Close()
		file.Close()
	}()
	return o, nil
}

func logFile(dir string, number int32) string {
	return filepath.Join(dir, strconv.Itoa(int(number))+".log")
}

// stamp copies lines with the time in front of each. Lines that arrive together are written together.
func stamp(from io.Reader, to io.Writer) error {
	in, out := bufio.NewReaderSize(from, 64<<10), bufio.NewWriterSize(to, 64<<10)
	fresh := true // at the beginning of a line
	for {
		line, err := in.ReadSlice('\n')
		if fresh && len(line) > 0 {
			out.Write(time.Now().UTC().AppendFormat(out.AvailableBuffer(), time.RFC3339Nano+" "))
		}
		out.Write(line)
		fresh = len(line) > 0 && line[len(line)-1] == '\n' || fresh && len(line) == 0
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !fresh {
				out.WriteByte('\n')
			}
			if flushErr := out.Flush(); flushErr != nil {
				return flushErr
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// logQuery is which part of a log is asked for.
type logQuery struct {
	follow, timestamps bool
	since              time.Time
	tail               int   // last lines; negative: all
	limit              int64 // bytes; 0: no limit
}

// copyLog writes what is asked for; when following, until ctx ends or ended tells that nothing more will come.
func copyLog(ctx context.Context, to io.Writer, flush func(), file string, q logQuery, ended <-chan struct{}) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	skip := 0
	if q.tail >= 0 {
		lines, err := countLines(f)
		if err != nil {
			return err
		}
		skip = lines - q.tail
	}
	in := bufio.NewReader(f)
	var line []byte
	left := q.limit
	for {
		over := isClosed(ended) // before reading: what was written before the end is read after it
		part, err := in.ReadBytes('\n')
		line = append(line, part...)
		if err != nil {
			if !q.follow || over || ctx.Err() != nil {
				return nil
			}
			flush()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		text := line
		line = nil
		if skip--; skip >= 0 {
			continue
		}
		when, message, _ := bytes.Cut(text, []byte(" "))
		if t, err := time.Parse(time.RFC3339Nano, string(when)); err != nil || t.Before(q.since) {
			continue
		}
		if !q.timestamps {
			text = message
		}
		if q.limit > 0 {
			text = text[:min(int64(len(text)), left)]
			left -= int64(len(text))
		}
		if _, err := to.Write(text); err != nil {
			return err
		}
		if q.limit > 0 && left == 0 {
			return nil
		}
	}
}

func countLines(f *os.File) (int, error) {
	n, buf := 0, make([]byte, 64<<10)
	for {
		k, err := f.Read(buf)
		n += bytes.Count(buf[:k], []byte("\n"))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	_, err := f.Seek(0, io.SeekStart)
	return n, err
}

// logDir is where the logs of a container are: they stay when the pod has gone.
func (w *worker) logDir(container string) string {
	pod := w.podCopy()
	return filepath.Join(w.k.logs, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, string(pod.UID)[:8]), container)
}
