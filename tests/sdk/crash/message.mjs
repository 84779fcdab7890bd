// The messages that publishers send: each says who sent it as which of theirs, and its text follows
// from that, so that whoever reads it can tell whether it is whole.

/** The name of a publisher's `number`th message. */
export function name(publisher, number) {
  return `${publisher}-${number}`;
}

/** What a publisher sends as its `number`th message: some 20 to 300 bytes. */
export function message(publisher, number) {
  const length = 1 + ((publisher * 31 + number * 17) % 40);
  return { publisher, number, text: `${name(publisher, number)} `.repeat(length).slice(0, 260) };
}

/** Whether `data` is a message as its publisher sent it. */
export function isWhole(data) {
  const { publisher, number, text } = data ?? {};
  return (
    Number.isInteger(publisher) &&
    Number.isInteger(number) &&
    Object.keys(data).length === 3 &&
    text === message(publisher, number).text
  );
}
