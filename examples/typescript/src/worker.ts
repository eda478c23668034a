// One build's worker. Which version it is, and where it polls, its environment says.
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import * as activities from './activities';

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

async function main() {
  const port = process.env.ROLLOUT_METRICS_PORT;
  // The SDK's default names and units will do: rollout reads each SDK's own.
  if (port) {
    const prometheus = { bindAddress: `127.0.0.1:${port}` };
    Runtime.install({ telemetryOptions: { metrics: { prometheus } } });
  }
  const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS });
  const worker = await Worker.create({
    connection,
    namespace: process.env.TEMPORAL_NAMESPACE,
    taskQueue: process.env.ROLLOUT_TASK_QUEUE ?? 'shop',
    workflowsPath: require.resolve('./workflows'),
    activities,
    workerDeploymentOptions: {
      version: {
        deploymentName: needed('TEMPORAL_DEPLOYMENT_NAME'),
        buildId: needed('TEMPORAL_WORKER_BUILD_ID'),
      },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'PINNED',
    },
  });
  // SIGTERM lets the activities under way finish; then this returns.
  await worker.run();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
