// Command guest is a contract in plain Go that uses what a program may use of
// the standard library. Its query does what the input asks for.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// baked is made by the initialiser: calls begin with it.
var baked = func() map[string]int {
	m := make(map[string]int)
	for i := range 100 {
		m[fmt.Sprint("key ", i)] = i
	}
	return m
}()

// calls counts, and must not: each call begins with 0.
var calls int

var started = time.Now()

//go:wasmexport alloc
func alloc(n uint32) uint32 { return address(make([]byte, max(n, 1))) }

var kept [][]byte

func address(b []byte) uint32 {
	kept = append(kept, b)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

//go:wasmexport query
func query(ptr, n uint32) uint64 {
	what := unsafe.String((*byte)(unsafe.Pointer(uintptr(ptr))), n)
	calls++
	answer := []byte(fmt.Sprint(calls, " ", answers[what]()))
	return uint64(address(answer))<<32 | uint64(len(answer))
}

var answers = map[string]func() any{
	"maps":       maps,
	"json":       jsons,
	"floats":     floats,
	"goroutines": goroutines,
	"sleep":      sleep,
	"random":     random,
	"files":      files,
	"hash":       func() any { return fmt.Sprintf("%x", sha256.Sum256([]byte("abc"))) },
	"print":      func() any { fmt.Println("to the log"); print("and more"); return nil },
	"panic":      func() any { panic("at the disco") },
	"index":      func() any { return baked[fmt.Sprint([]int{1}[len(kept)+5])] },
	"nil":        func() any { var p *[8]int; return p[len(kept)%8] },
	"exit":       func() any { os.Exit(3); return nil },
	"deadlock":   func() any { <-make(chan int); return nil },
	"recursion":  func() any { return deep(1 << 20) },
	"allocation": func() any { return len(strings.Repeat("x", 1<<30)) },
	"garbage":    garbage,
}

// maps walks over a map, in the order that the seed of all zeros gives.
func maps() any {
	var order []string
	sum := 0
	for k, v := range baked {
		order = append(order, k)
		sum += v
	}
	h := sha256.Sum256([]byte(strings.Join(order, ",")))
	slices.Sort(order)
	return fmt.Sprintf("%d %s %x", sum, order[0], h[:4])
}

func jsons() any {
	var v map[string]any
	if err := json.Unmarshal([]byte(`{"a":[1,2.5e9,"x"],"b":{"c":null}}`), &v); err != nil {
		return err
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return string(out)
}

func floats() any {
	zero := float64(calls - 1)
	nan := zero / zero
	return fmt.Sprintf("%x %x %g %x", math.Float64bits(nan), math.Float64bits(math.Sqrt(-1-zero)), math.Pow(2.5, 3.5), math.Float32bits(float32(nan)))
}

func goroutines() any {
	var wg sync.WaitGroup
	results := make(chan int)
	for i := range 20 {
		wg.Go(func() { results <- i * i })
	}
	go func() { wg.Wait(); close(results) }()
	var list []int
	for r := range results {
		list = append(list, r)
	}
	return list
}

func sleep() any {
	start := time.Now()
	time.Sleep(time.Hour)
	return fmt.Sprint(time.Since(start).Truncate(time.Minute), started.Unix())
}

func random() any {
	b := make([]byte, 8)
	_, err := rand.Read(b)
	return fmt.Sprintf("%x %v", b, err)
}

func files() any {
	_, err := os.ReadFile("/etc/passwd")
	return fmt.Sprint(err, len(os.Args), len(os.Environ()))
}

func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n-1) + n
}

// garbage makes more of it than the memory holds.
func garbage() any {
	sum := 0
	for i := range 40 {
		b := make([]byte, 1<<20)
		b[i] = 1
		sum += len(b)
	}
	return sum
}

func main() {}
