// One build's worker. Which version it is, and where it polls, its environment says.
package main

import (
	"log"
	"os"
	"time"

	"github.com/uber-go/tally/v4"
	"github.com/uber-go/tally/v4/prometheus"
	"go.temporal.io/sdk/client"
	sdktally "go.temporal.io/sdk/contrib/tally"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"shop/shop"
)

func main() {
	options := client.Options{
		HostPort:  os.Getenv("TEMPORAL_ADDRESS"),
		Namespace: os.Getenv("TEMPORAL_NAMESPACE"),
	}
	if port := os.Getenv("ROLLOUT_METRICS_PORT"); port != "" {
		options.MetricsHandler = metrics("127.0.0.1:" + port)
	}
	c, err := client.Dial(options)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	queue := os.Getenv("ROLLOUT_TASK_QUEUE")
	if queue == "" {
		queue = "shop"
	}
	w := worker.New(c, queue, worker.Options{
		WorkerStopTimeout: 10 * time.Second,
		DeploymentOptions: worker.DeploymentOptions{
			UseVersioning: true,
			Version: worker.WorkerDeploymentVersion{
				DeploymentName: needed("TEMPORAL_DEPLOYMENT_NAME"),
				BuildID:        needed("TEMPORAL_WORKER_BUILD_ID"),
			},
			DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
		},
	})
	w.RegisterWorkflow(shop.Order)
	w.RegisterActivity(shop.Charge)
	w.RegisterActivity(shop.Ship)
	// SIGTERM lets the activities under way finish; then this returns.
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}

func needed(name string) string {
	value := os.Getenv(name)
	if value == "" {
		log.Fatalf("%s is not set", name)
	}
	return value
}

// metrics serves them at address. Histograms rather than tally's summaries: those of several
// processes add up.
func metrics(address string) client.MetricsHandler {
	config := prometheus.Configuration{ListenAddress: address, TimerType: "histogram"}
	reporter, err := config.NewReporter(prometheus.ConfigurationOptions{
		OnError: func(err error) { log.Println("metrics:", err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	scope, _ := tally.NewRootScope(tally.ScopeOptions{
		CachedReporter:  reporter,
		Separator:       prometheus.DefaultSeparator,
		SanitizeOptions: &sdktally.PrometheusSanitizeOptions,
	}, time.Second)
	return sdktally.NewMetricsHandler(sdktally.NewPrometheusNamingScope(scope))
}
