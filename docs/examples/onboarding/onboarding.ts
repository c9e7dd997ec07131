// Reports onboarding to Mesocycle: paste it into the app. The types in api.d.ts are generated from the API's OpenAPI document.
import type { components } from "./api";

export type StepEvent = components["schemas"]["StepEvent"];
export type EventsTaken = components["schemas"]["EventsTaken"];
type Reported = Pick<StepEvent, "step" | "eventType"> & Partial<StepEvent>;

const MOST_EVENTS = 500;
/** Answers that the same events would get again. After any other one (no network, token expired, too many requests) they wait. */
const FOR_GOOD = [400, 413, 415, 422];

/** Collects events and sends them together. What isn't answered stays, and is sent again with the same eventIds: nothing counts twice. */
export class Onboarding {
  private waiting: StepEvent[] = [];
  private sending: Promise<EventsTaken | undefined> | undefined;

  constructor(
    private readonly baseUrl: string,
    private readonly token: () => Promise<string>,
    private readonly about: Partial<StepEvent> = {}, // anonymousId, platform, appVersion, acquisitionChannel …
  ) {}

  /** `report({ step: "goal", eventType: "completed", durationMs: 5200 })`. Give userId with anonymousId once there is an account. */
  report(event: Reported): void {
    this.waiting.push({
      ...this.about,
      eventId: crypto.randomUUID(),
      occurredAt: new Date().toISOString(),
      ...event,
    } as StepEvent);
  }

  /** Sends what waits; call it every few seconds, and when the app goes to the background. Undefined: nothing waited, or it still does. */
  send(): Promise<EventsTaken | undefined> {
    // One at a time: two that overlap would send the same events, and the second would take away others that nobody sent.
    this.sending ??= this.sendOnce().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  private async sendOnce(): Promise<EventsTaken | undefined> {
    const events = this.waiting.slice(0, MOST_EVENTS);
    if (events.length === 0) return undefined;
    const request = {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${await this.token()}` },
      // sentAt says what the device takes for now: a wrong clock is corrected by it.
      body: JSON.stringify({ sentAt: new Date().toISOString(), events }),
    };
    const answer = await fetch(`${this.baseUrl}/api/v1/onboarding/step`, request).catch(() => undefined);
    if (!answer || (!answer.ok && !FOR_GOOD.includes(answer.status))) {
      console.warn(`Onboarding events wait: ${answer ? await answer.text() : "no answer"}`);
      return undefined;
    }
    this.waiting = this.waiting.slice(events.length);
    if (!answer.ok) throw new Error(`Onboarding events were refused: ${await answer.text()}`);
    const taken = (await answer.json()) as EventsTaken;
    for (const result of taken.results) {
      if (result.status === "rejected") console.warn(`Event ${result.eventId} was refused: ${result.reason}`);
    }
    return taken;
  }
}
