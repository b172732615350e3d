// Signing in and out. What these calls are refused is for their form, and not for the page that waits behind it.

import { ApiError, call, send } from './api';
import { session } from './session.svelte';
import type { Access } from './types';

const SESSION = '/admin/v1/session';

const who = () => call<Access>(SESSION, { anyone: true });

/** Asks the server who this tab is. A key that was revoked is forgotten. */
export async function look(): Promise<void> {
  try {
    session.enter(await who());
  } catch (error) {
    if (!session.key || !(error instanceof ApiError) || error.status !== 401) throw error;
    session.use('');
    session.enter(await who());
  }
}

/** Begins a session. */
export async function signIn(password: string): Promise<void> {
  // A key that is left over would count instead.
  session.use('');
  session.enter(await call<Access>(SESSION, { body: { password }, anyone: true }));
}

/** Sets a password by a one-time link, and begins a session. */
export async function setUp(token: string, password: string): Promise<void> {
  session.use('');
  session.enter(await call<Access>('/admin/v1/setup', { body: { token, password }, anyone: true }));
}

/** Goes on with an API key. */
export async function useKey(key: string): Promise<void> {
  session.use(key);
  try {
    session.enter(await who());
  } catch (error) {
    session.use('');
    throw error;
  }
}

/** Sets or changes the password. On a server that was open this begins a session. */
export async function changePassword(old: string, next: string): Promise<void> {
  const body = { ...(session.access?.has_password ? { old } : {}), new: next };
  session.enter(await call<Access>('/admin/v1/password', { body }));
}

/** Ends the session, or forgets the key. The page begins anew, without what it has read. */
export async function leave(): Promise<void> {
  if (session.access?.by === 'session') await send(SESSION, { method: 'DELETE', anyone: true });
  session.use('');
  location.reload();
}
