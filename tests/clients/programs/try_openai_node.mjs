// Tries openai-node.

import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  CHAT,
  CITY_QUESTION,
  EMBED,
  FUNCTION,
  GREETING,
  NO_THOUGHT,
  SKY,
  TRANSCRIPTION,
  WEATHER_QUESTION,
  WITHIN_MS,
  joined,
  main,
  speech,
  vector,
} from "./trying.mjs";

const City = z.object({ city: z.string(), country: z.string() });
const QUESTION = { role: "user", content: WEATHER_QUESTION };
const HELLO = { model: CHAT, messages: [{ role: "user", content: GREETING }], temperature: 0 };
const CALL = {
  model: CHAT,
  messages: [QUESTION],
  temperature: 0,
  tools: [{ type: "function", function: FUNCTION }],
  ...NO_THOUGHT,
};
const RESPONSE = { model: CHAT, input: GREETING, temperature: 0 };
const RESPONSE_CALL = {
  model: CHAT,
  input: [QUESTION],
  temperature: 0,
  tools: [{ type: "function", ...FUNCTION }],
  ...NO_THOUGHT,
};

const client = (url) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0, timeout: WITHIN_MS });
const calls = (message) =>
  (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
const results = (message) =>
  message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: SKY }));
const told = (items) =>
  items
    .filter((item) => item.type === "reasoning")
    .flatMap((item) => item.content.map((part) => part.text))
    .join("");
const functionCalls = (response) => response.output.filter((item) => item.type === "function_call");

async function all(stream) {
  const found = [];
  for await (const each of stream) found.push(each);
  return found;
}

await main({
  chat: async (url) => {
    const { choices, usage } = await client(url).chat.completions.create(HELLO);
    const { content, reasoning_content } = choices[0].message;
    return { chat: content, reasoning: reasoning_content, usage: [usage.prompt_tokens, usage.completion_tokens] };
  },
  stream: async (url) => {
    const asked = { ...HELLO, stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await client(url).chat.completions.create(asked));
    const deltas = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
    const { usage } = chunks.at(-1);
    return {
      stream: joined(deltas.map((delta) => delta.content)),
      "reasoning in a stream": joined(deltas.map((delta) => delta.reasoning_content)),
      "usage in a stream": [usage.prompt_tokens, usage.completion_tokens],
    };
  },
  tools: async (url) => {
    const { message } = (await client(url).chat.completions.create(CALL)).choices[0];
    const messages = [QUESTION, message, ...results(message)];
    const answer = await client(url).chat.completions.create({ ...CALL, messages });
    return { tools: calls(message), "tool loop": answer.choices[0].message.content };
  },
  "tools stream": async (url) => {
    const { choices } = await client(url).chat.completions.stream(CALL).finalChatCompletion();
    return { "tools in a stream": calls(choices[0].message) };
  },
  structured: async (url) => {
    const answer = await client(url).chat.completions.parse({
      model: CHAT,
      messages: [{ role: "user", content: CITY_QUESTION }],
      temperature: 0,
      response_format: zodResponseFormat(City, "City"),
      ...NO_THOUGHT,
    });
    return { "structured output": answer.choices[0].message.parsed };
  },
  response: async (url) => {
    const answer = await client(url).responses.create(RESPONSE);
    return { response: answer.output_text, "reasoning in a response": told(answer.output) };
  },
  "response events": async (url) => {
    const events = await all(await client(url).responses.create({ ...RESPONSE, stream: true }));
    const deltas = (type) => events.filter((event) => event.type === type).map((event) => event.delta);
    return {
      "stream of a response": joined(deltas("response.output_text.delta")),
      "reasoning in a stream of a response": joined(deltas("response.reasoning_text.delta")),
    };
  },
  "response stream": async (url) => {
    const final = await client(url).responses.stream(RESPONSE).finalResponse();
    return { "final response of a stream": final.output_text };
  },
  "response structured": async (url) => {
    const answer = await client(url).responses.parse({
      model: CHAT,
      input: CITY_QUESTION,
      temperature: 0,
      text: { format: zodTextFormat(City, "City") },
      ...NO_THOUGHT,
    });
    return { "structured response": answer.output_parsed };
  },
  "response tools": async (url) => {
    const called = await client(url).responses.create(RESPONSE_CALL);
    const outputs = functionCalls(called).map((item) => ({
      type: "function_call_output",
      call_id: item.call_id,
      output: SKY,
    }));
    const input = [QUESTION, ...called.output, ...outputs];
    const answer = await client(url).responses.create({ ...RESPONSE_CALL, input });
    return {
      "tools in a response": functionCalls(called).map((item) => [item.name, JSON.parse(item.arguments)]),
      "tool loop of responses": answer.output_text,
    };
  },
  // In base64, which this client asks for by itself and decodes.
  embeddings: async (url) =>
    vector((await client(url).embeddings.create({ model: EMBED, input: GREETING })).data[0].embedding),
  models: async (url) => ({ models: (await all(client(url).models.list())).map((model) => model.id) }),
  transcription: async (url) => {
    const file = await toFile(speech(), "hello.wav", { type: "audio/wav" });
    const answer = await client(url).audio.transcriptions.create({ model: TRANSCRIPTION, file });
    return { transcription: answer.text };
  },
});
