// What the programs for Node share; see trying.py, which says the same to those for Python.

import { readFileSync } from "node:fs";

export const CHAT = "vllm/tiny/chat";
export const EMBED = "vllm/tiny/embed";
export const TRANSCRIPTION = "vllm/tiny/transcription";
export const GREETING = "Hello";
export const WEATHER_QUESTION = "What is the weather in Paris?";
export const CITY_QUESTION = "Give me Paris as JSON.";
export const DESCRIPTION = "Weather for a city";
export const PARAMETERS = {
  type: "object",
  properties: {
    city: { type: "string" },
    unit: { type: "string", enum: ["celsius", "fahrenheit"] },
  },
  required: ["city"],
};
export const FUNCTION = { name: "get_weather", description: DESCRIPTION, parameters: PARAMETERS };
export const SKY = '{"celsius": 18, "sky": "clear"}';
export const NO_THOUGHT = { chat_template_kwargs: { enable_thinking: false } };
export const WITHIN_MS = 20_000;
const WHY = ["a scripted fault", "connection reset"];

const asked = JSON.parse(process.argv[2]);

export const speech = () => readFileSync(asked.speech);

/** The text of a stream, which has to come in more than one piece. */
export function joined(pieces) {
  if (pieces.filter(Boolean).length < 2) throw new Error(`not streamed: ${pieces}`);
  return pieces.join("");
}

/** How long an embedding is, and how it begins. */
export const vector = (numbers) => ({
  embeddings: [numbers.length, ...numbers.slice(0, 2).map((number) => Number(number.toFixed(5)))],
});

async function features(tasks) {
  const found = {};
  const failures = {};
  for (const name of asked.tasks.filter((name) => name in tasks)) {
    try {
      Object.assign(found, await tasks[name](asked.urls.async));
    } catch (error) {
      failures[name] = `${error.constructor.name}: ${error.message}`;
    }
  }
  return { features: found, failures };
}

function met(fault) {
  if (fault.includes("response")) return ["response events"];
  return /^\d+$/.test(fault) ? ["chat", "stream"] : ["stream"];
}

async function errors(tasks) {
  const found = {};
  for (const [fault, url] of Object.entries(asked.faults)) {
    const raised = new Set();
    for (const name of met(fault).filter((name) => name in tasks)) {
      try {
        await tasks[name](url);
        raised.add("none");
      } catch (error) {
        const said = WHY.some((why) => error.message.includes(why));
        raised.add(error.constructor.name + (said ? "" : `, which does not say why: ${error.message}`));
      }
    }
    if (raised.size) found[fault] = [...raised].join(", ");
  }
  return found;
}

export async function main(tasks) {
  const report = { async: { ...(await features(tasks)), errors: await errors(tasks) } };
  process.stdout.write(JSON.stringify(report));
}
