// supabase/functions/trigger-report/index.ts
//
// Triggers the nightly report of one org at the endpoint of Jobs Exec, with a
// Standard Webhooks signature made by Web Crypto: there is nothing to install.
// Whoever calls this function says which tick it is for, and nothing else.

const SETTINGS = ["JOBS_URL", "JOBS_SECRET", "SCHEDULER_TOKEN"] as const;
const [url, secret, token] = SETTINGS.map(setting);

const encoder = new TextEncoder();
const key = await crypto.subtle.importKey(
  "raw",
  bytes(secret.replace(/^whsec_/, "")),
  { name: "HMAC", hash: "SHA-256" },
  false,
  ["sign"],
);
const expected = await digest(token);

Deno.serve(async (request) => {
  // Digests, because comparing the tokens themselves takes longer the more of
  // them is right.
  const given = request.headers.get("x-scheduler-token") ?? "";
  if (await digest(given) !== expected) {
    return new Response(null, { status: 401 });
  }
  const called = await request.json().catch(() => null);
  if (typeof called?.tick !== "string") {
    return Response.json({ error: "tick is missing" }, { status: 400 });
  }
  return await trigger({
    orgId: "acme",
    type: "report.nightly",
    data: {},
    tick: called.tick,
  });
});

async function trigger(call: Record<string, unknown>): Promise<Response> {
  const body = JSON.stringify(call);
  const answer = await fetch(`${url}/trigger`, {
    method: "POST",
    headers: { "content-type": "application/json", ...await signed(body) },
    body,
    redirect: "error",
    signal: AbortSignal.timeout(30_000),
  });
  return new Response(answer.body, {
    status: answer.status,
    headers: { "content-type": "application/json" },
  });
}

async function signed(body: string): Promise<Record<string, string>> {
  const id = `msg_${crypto.randomUUID()}`;
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const message = encoder.encode(`${id}.${timestamp}.${body}`);
  const signature = await crypto.subtle.sign("HMAC", key, message);
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${base64(signature)}`,
  };
}

async function digest(text: string): Promise<string> {
  return base64(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
}

function base64(buffer: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

function bytes(encoded: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
}

function setting(name: string): string {
  const value = Deno.env.get(name);
  if (!value) {
    throw new Error(`${name} is missing: supabase secrets set ${name}=...`);
  }
  return value;
}
