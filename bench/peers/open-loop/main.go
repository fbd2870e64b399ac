// An open loop for bench/forward.ts, as bench/programs/open-loop.ts where there is Go: GETs begin at a fixed rate, whatever comes back,
// and a call that finds no connection free waits; its time counts from when it should have begun. One thread, one epoll and a
// timer of 100 µs, so that the core that it shares with the backend is not what is measured. Takes an OpenLoopJob as JSON in
// its argument, prints a LoadResult; ends when its standard input does.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const tick = 100 * time.Microsecond

type job struct {
	Port        int     `json:"port"`
	Path        string  `json:"path"`
	Connections int     `json:"connections"`
	PerSecond   float64 `json:"perSecond"`
	DurationMs  float64 `json:"durationMs"`
}

type caller struct {
	fd      int
	due     time.Duration
	pending []byte
}

func fail(port int, what any) {
	fmt.Fprintf(os.Stderr, "open loop on port %d: %v\n", port, what)
	os.Exit(1)
}

// Whether a whole answer with a Content-Length is there.
func isWhole(answer []byte) bool {
	end := bytes.Index(answer, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	head := bytes.ToLower(answer[:end+2])
	at := bytes.Index(head, []byte("\r\ncontent-length:"))
	if at < 0 {
		return bytes.HasSuffix(answer, []byte("\r\n0\r\n\r\n"))
	}
	value := head[at+len("\r\ncontent-length:"):]
	length, err := strconv.Atoi(string(bytes.TrimSpace(value[:bytes.IndexByte(value, '\r')])))
	return err == nil && len(answer) >= end+4+length
}

func timer() (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, 1 /* CLOCK_MONOTONIC */, syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return 0, errno
	}
	interval := syscall.NsecToTimespec(int64(tick))
	spec := [2]syscall.Timespec{interval, interval}
	if _, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

func main() {
	var j job
	if err := json.Unmarshal([]byte(os.Args[1]), &j); err != nil {
		fail(0, err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		fail(j.Port, err)
	}
	watch := func(fd int) {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
			fail(j.Port, err)
		}
	}
	callers := map[int]*caller{}
	var free []*caller
	for range make([]struct{}, j.Connections) {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: j.Port, Addr: [4]byte{127, 0, 0, 1}})
		}
		if err == nil {
			err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		}
		if err == nil {
			err = syscall.SetNonblock(fd, true)
		}
		if err != nil {
			fail(j.Port, err)
		}
		one := &caller{fd: fd}
		callers[fd] = one
		free = append(free, one)
		watch(fd)
	}
	ticks, err := timer()
	if err != nil {
		fail(j.Port, err)
	}
	watch(ticks)

	request := []byte(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: holdfast-bench\r\nAccept: */*\r\n\r\n", j.Path))
	duration := time.Duration(j.DurationMs * float64(time.Millisecond))
	total := int(j.DurationMs / 1000 * j.PerSecond)
	times := make([]float64, 0, total)
	start := time.Now()
	dueOf := func(call int) time.Duration { return time.Duration(float64(call) / j.PerSecond * float64(time.Second)) }
	begun := 0
	send := func() {
		now := time.Since(start)
		for begun < total && len(free) > 0 && dueOf(begun) <= now {
			one := free[len(free)-1]
			free = free[:len(free)-1]
			one.due = dueOf(begun)
			begun++
			if _, err := syscall.Write(one.fd, request); err != nil {
				fail(j.Port, err)
			}
		}
	}
	events := make([]syscall.EpollEvent, 256)
	buffer := make([]byte, 65536)
	for len(times) < total {
		if time.Since(start) > duration+time.Minute {
			fail(j.Port, "answers are missing")
		}
		count, err := syscall.EpollWait(epoll, events, 1000)
		if err != nil && err != syscall.EINTR {
			fail(j.Port, err)
		}
		for _, event := range events[:max(count, 0)] {
			read, err := syscall.Read(int(event.Fd), buffer)
			if int(event.Fd) == ticks {
				continue
			}
			if err != nil || read == 0 {
				fail(j.Port, "connection lost")
			}
			one := callers[int(event.Fd)]
			one.pending = append(one.pending, buffer[:read]...)
			if !isWhole(one.pending) {
				continue
			}
			if !bytes.HasPrefix(one.pending, []byte("HTTP/1.1 200")) {
				fail(j.Port, string(one.pending[:min(200, len(one.pending))]))
			}
			one.pending = one.pending[:0]
			times = append(times, float64(time.Since(start)-one.due)/float64(time.Millisecond))
			free = append(free, one)
		}
		send()
	}
	elapsed := float64(time.Since(start)) / float64(time.Millisecond)
	sort.Float64s(times)
	at := func(share float64) float64 { return times[min(len(times)-1, int(float64(len(times))*share))] }
	fmt.Printf("{\"calls\":%d,\"elapsedMs\":%f,\"p50Ms\":%f,\"p99Ms\":%f}\n", len(times), elapsed, at(0.5), at(0.99))
}
