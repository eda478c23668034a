// The replay program: histories as JSON lines in, verdicts as JSON lines out (docs/replay-protocol.md).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"shop/shop"
)

type given struct {
	WorkflowID string          `json:"workflow_id"`
	RunID      string          `json:"run_id"`
	History    json.RawMessage `json:"history"`
}

type verdict struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	OK         bool   `json:"ok"`
	Error      string `json:"error,omitempty"`
}

func main() {
	// Stdout is for verdicts alone; whatever else prints there goes to stderr from now on.
	answers := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	level := &slog.HandlerOptions{Level: slog.LevelError}
	logger := sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, level)))
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflow(shop.Order)

	lines := bufio.NewReader(os.Stdin) // a history can be megabytes long
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := answers.Encode(judge(replayer, logger, line)); err != nil {
				log.Fatal(err)
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func judge(replayer worker.WorkflowReplayer, logger sdklog.Logger, line []byte) (found verdict) {
	var run given
	if err := json.Unmarshal(line, &run); err != nil {
		log.Fatal("this is not a history: ", err)
	}
	history, err := client.HistoryFromJSON(bytes.NewReader(run.History), client.HistoryJSONOptions{})
	if err != nil {
		log.Fatal("this is not a history: ", err)
	}
	found = verdict{WorkflowID: run.WorkflowID, RunID: run.RunID}
	defer func() {
		if problem := recover(); problem != nil {
			found.OK, found.Error = false, fmt.Sprint(problem)
		}
	}()
	if err := replayer.ReplayWorkflowHistory(logger, history); err != nil {
		found.Error = err.Error()
		return found
	}
	found.OK = true
	return found
}
