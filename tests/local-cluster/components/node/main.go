// Command behalf-node is the first process of a local cluster's node. It mounts,
// waits for the network, and keeps the node's processes running until it is
// killed, which kills them all. It is a binary of its own because it lives as
// long as the node and needs little memory.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// plan says what one node is made of. The test crate writes it, the first
// process of the node's namespaces reads it.
type plan struct {
	// Mounts are private to the node: they hide what the components would
	// otherwise write to the machine.
	Mounts []mount `json:"mounts"`
	// Start is a file that appears once the node's network is there.
	Start string `json:"start"`
	// Status is the file that tells which process runs and how often it died.
	Status    string    `json:"status"`
	Processes []process `json:"processes"`
}

type mount struct {
	// Source is a folder or file to bind; empty for an empty tmpfs.
	Source string `json:"source"`
	Target string `json:"target"`
}

type process struct {
	Name string   `json:"name"`
	Argv []string `json:"argv"`
	Log  string   `json:"log"`
	// After lists sockets ("unix:/path", "tcp:host:port") that must accept
	// connections before the process is worth starting.
	After []string `json:"after"`
}

// processStatus is what the test crate reads to name the culprit of a failed start.
type processStatus struct {
	Pid      int    `json:"pid"`
	Exits    int    `json:"exits"`
	LastExit string `json:"lastExit"`
}

const (
	poll         = 25 * time.Millisecond
	firstRestart = 500 * time.Millisecond
	slowRestart  = 5 * time.Second
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "behalf-node: %v\n", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("expected the plan's path as the only argument")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	var plan plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return fmt.Errorf("failed to read %s: %w", arguments[0], err)
	}
	for _, mount := range plan.Mounts {
		if err := mount.apply(); err != nil {
			return fmt.Errorf("failed to mount %s: %w", mount.Target, err)
		}
	}
	for !exists(plan.Start) {
		time.Sleep(poll)
	}
	newSupervisor(plan).run()
	return nil
}

func (m mount) apply() error {
	if m.Source == "" {
		return syscall.Mount("tmpfs", m.Target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755")
	}
	// Recursive and shared: the kubelet's mounts below it must reach the containers.
	if err := syscall.Mount(m.Source, m.Target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	return syscall.Mount("", m.Target, "", syscall.MS_SHARED|syscall.MS_REC, "")
}

type supervisor struct {
	plan   plan
	mutex  sync.Mutex
	status map[string]*processStatus
	exits  map[int]chan syscall.WaitStatus
}

func newSupervisor(plan plan) *supervisor {
	return &supervisor{plan: plan, status: map[string]*processStatus{}, exits: map[int]chan syscall.WaitStatus{}}
}

// run starts everything and then reaps for ever. As the first process of its
// namespace it inherits every orphan, such as the shims of containerd.
func (s *supervisor) run() {
	for _, process := range s.plan.Processes {
		s.status[process.Name] = &processStatus{}
	}
	for _, process := range s.plan.Processes {
		go s.keep(process)
	}
	for {
		var status syscall.WaitStatus
		child, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil { // no child yet
			time.Sleep(poll)
			continue
		}
		s.mutex.Lock()
		if exit, ours := s.exits[child]; ours {
			exit <- status
			delete(s.exits, child)
		}
		s.mutex.Unlock()
	}
}

func (s *supervisor) keep(process process) {
	delay := firstRestart
	for {
		for _, address := range process.After {
			waitFor(address)
		}
		started := time.Now()
		exit, err := s.start(process)
		reason := ""
		if err != nil {
			reason = err.Error()
		} else {
			reason = describe(<-exit)
		}
		s.update(process.Name, func(status *processStatus) {
			status.Pid, status.LastExit = 0, reason
			status.Exits++
		})
		if time.Since(started) > time.Minute {
			delay = firstRestart
		}
		time.Sleep(delay)
		delay = min(2*delay, slowRestart)
	}
}

func (s *supervisor) start(process process) (chan syscall.WaitStatus, error) {
	log, err := os.OpenFile(process.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(process.Argv[0], process.Argv[1:]...)
	command.Stdout, command.Stderr = log, log
	exit := make(chan syscall.WaitStatus, 1)
	// Under the lock: the reaper must not see the child before it is registered.
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.exits[command.Process.Pid] = exit
	s.status[process.Name].Pid = command.Process.Pid
	s.write()
	return exit, nil
}

func (s *supervisor) update(name string, change func(*processStatus)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(s.status[name])
	s.write()
}

// write replaces the status file in one step; the caller holds the lock.
func (s *supervisor) write() {
	text, err := json.MarshalIndent(s.status, "", "  ")
	if err == nil {
		next := filepath.Join(filepath.Dir(s.plan.Status), "."+filepath.Base(s.plan.Status))
		if err = os.WriteFile(next, text, 0o640); err == nil {
			err = os.Rename(next, s.plan.Status)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "behalf-node: unable to write the status: %v\n", err)
	}
}

func waitFor(address string) {
	network, target, _ := strings.Cut(address, ":")
	for {
		connection, err := net.DialTimeout(network, target, time.Second)
		if err == nil {
			connection.Close()
			return
		}
		time.Sleep(poll)
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("killed by signal %d", status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
