// Package shop has the workflows and activities of this build.
package shop

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"
)

// Order charges, waits, and ships.
func Order(ctx workflow.Context, id string, seconds int) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	if err := workflow.ExecuteActivity(ctx, Charge, id).Get(ctx, nil); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, time.Duration(seconds)*time.Second); err != nil {
		return "", err
	}
	var shipped string
	err := workflow.ExecuteActivity(ctx, Ship, id).Get(ctx, &shipped)
	return shipped, err
}

// Charge takes the money.
func Charge(_ context.Context, id string) (string, error) { return "charged " + id, nil }

// Ship sends the goods.
func Ship(_ context.Context, id string) (string, error) { return "shipped " + id, nil }
