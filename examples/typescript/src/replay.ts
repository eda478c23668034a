// The replay program: histories as JSON lines in, verdicts as JSON lines out (docs/replay-protocol.md).
import { createInterface } from 'node:readline';
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  ReplayError,
  Runtime,
  Worker,
} from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';

// Stdout is for verdicts alone; whatever else prints there goes to stderr from now on.
const answer = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr) as typeof process.stdout.write;

async function main() {
  const logger = new DefaultLogger('ERROR');
  // Unless it is forwarded, the native core writes its log to stdout, past the line above.
  const filter = makeTelemetryFilterString({ core: 'ERROR' });
  Runtime.install({ logger, telemetryOptions: { logging: { forward: {}, filter } } });
  const workflowBundle = await bundleWorkflowCode({
    workflowsPath: require.resolve('./workflows'),
    logger,
  });
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (!line.trim()) continue;
    const { workflow_id, run_id, history } = JSON.parse(line);
    let error: string | undefined;
    try {
      await Worker.runReplayHistory({ workflowBundle }, history, workflow_id);
    } catch (reason) {
      const judged = reason instanceof DeterminismViolationError || reason instanceof ReplayError;
      if (!judged) throw reason; // it could not be tried: no verdict, and an exit code
      // The sentence that tells stands in a dump of the core's structures.
      error = /message: "((?:[^"\\]|\\.)*)"/.exec(reason.message)?.[1] ?? reason.message;
    }
    const verdict = { workflow_id, run_id, ok: error === undefined, error };
    answer(JSON.stringify(verdict) + '\n');
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(String(error));
    process.exit(1);
  },
);
