// The sign-in page. It has one field, and accepts any user name without a password.

const page = (action) => `<!doctype html>
<meta charset="utf-8">
<title>Sign in</title>
<form method="post" action="${action}">
  <label>Name <input name="login" autofocus required></label>
  <button>Sign in</button>
</form>
`;

/** Answers a request for `/login/..`. Returns false for any other path. */
export async function handleLogin(request, response, provider) {
  const { pathname } = new URL(request.url, provider.issuer);
  if (!/^\/login\/[\w-]+$/.test(pathname)) return false;
  // Throws if the browser has no cookie of this interaction.
  await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(page(pathname));
    return true;
  }
  let text = '';
  for await (const part of request) text += part;
  const accountId = new URLSearchParams(text).get('login') || 'anonymous';
  // A sign-in consents to every scope, so there is no consent page.
  const result = { login: { accountId }, consent: {} };
  await provider.interactionFinished(request, response, result);
  return true;
}
