// Tries the Vercel AI SDK with its provider for what is compatible with OpenAI.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embed, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import {
  CHAT,
  CITY_QUESTION,
  DESCRIPTION,
  EMBED,
  GREETING,
  NO_THOUGHT,
  PARAMETERS,
  SKY,
  WEATHER_QUESTION,
  WITHIN_MS,
  joined,
  main,
  vector,
} from "./trying.mjs";

const CITY = {
  type: "object",
  properties: { city: { type: "string" }, country: { type: "string" } },
  required: ["city", "country"],
  additionalProperties: false,
};
const SETTINGS = { temperature: 0, maxRetries: 0 };
const QUICK = { ...SETTINGS, providerOptions: { vllm: NO_THOUGHT } };
const TOOLS = {
  get_weather: tool({
    description: DESCRIPTION,
    inputSchema: jsonSchema(PARAMETERS),
    execute: () => JSON.parse(SKY),
  }),
};

const provider = (url) =>
  createOpenAICompatible({
    name: "vllm",
    baseURL: `${url}/v1`,
    apiKey: "unused",
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const asked = (url) => ({ model: provider(url)(CHAT), abortSignal: AbortSignal.timeout(WITHIN_MS) });
const usageOf = (usage) => [usage.inputTokens, usage.outputTokens];
const callsOf = (steps) =>
  steps.flatMap((step) => step.toolCalls).map((call) => [call.toolName, call.input]);

/** The parts of a stream. It tells an error as a part among others. */
async function parts(result) {
  const found = [];
  for await (const part of result.stream ?? result.fullStream) {
    if (part.type === "error") throw part.error;
    found.push(part);
  }
  return found;
}
const texts = (found, type) => found.filter((part) => part.type === type).map((part) => part.text);

await main({
  chat: async (url) => {
    const { text, reasoningText, usage } = await generateText({ ...asked(url), ...SETTINGS, prompt: GREETING });
    return { chat: text, reasoning: reasoningText, usage: usageOf(usage) };
  },
  stream: async (url) => {
    const result = streamText({ ...asked(url), ...SETTINGS, prompt: GREETING, onError: () => {} });
    const found = await parts(result);
    return {
      stream: joined(texts(found, "text-delta")),
      "reasoning in a stream": joined(texts(found, "reasoning-delta")),
      "usage in a stream": usageOf(await result.usage),
    };
  },
  tools: async (url) => {
    const { text, steps } = await generateText({
      ...asked(url),
      ...QUICK,
      prompt: WEATHER_QUESTION,
      tools: TOOLS,
      stopWhen: isStepCount(2),
    });
    return { tools: callsOf(steps), "tool loop": text };
  },
  "tools stream": async (url) => {
    const result = streamText({
      ...asked(url),
      ...QUICK,
      prompt: WEATHER_QUESTION,
      tools: TOOLS,
      stopWhen: isStepCount(2),
      onError: () => {},
    });
    await parts(result);
    return { "tools in a stream": callsOf(await result.steps) };
  },
  structured: async (url) => {
    const output = Output.object({ schema: jsonSchema(CITY), name: "City" });
    const result = await generateText({ ...asked(url), ...QUICK, prompt: CITY_QUESTION, output });
    return { "structured output": result.output };
  },
  embeddings: async (url) => {
    const model = provider(url).embeddingModel(EMBED);
    return vector((await embed({ model, value: GREETING, maxRetries: 0 })).embedding);
  },
});
