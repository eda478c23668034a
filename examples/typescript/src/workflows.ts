import { proxyActivities, sleep } from '@temporalio/workflow';
import type * as activities from './activities';

const { charge, ship } = proxyActivities<typeof activities>({ startToCloseTimeout: '10 seconds' });

export async function order(id: string, seconds = 0): Promise<string> {
  await charge(id);
  await sleep(seconds * 1000);
  return await ship(id);
}
