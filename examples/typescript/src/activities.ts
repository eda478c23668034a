export async function charge(order: string): Promise<string> {
  return `charged ${order}`;
}

export async function ship(order: string): Promise<string> {
  return `shipped ${order}`;
}
