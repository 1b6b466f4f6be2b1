/**
 * The server's side of `trpc.ts`. The token is checked before tRPC is asked: one that is not good is a 401 for all that
 * came with it, in batches and streams too, and no procedure has run.
 */
import { initTRPC, TRPCError } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'

interface User {
  sub: string
  fresh: boolean
}

/** `verify` tells whose token it is, or throws with the reason if it is not good. */
export const createHandler =
  (verify: (token: string) => Promise<User>) =>
  async (req: Request): Promise<Response> => {
    const token = req.headers.get('authorization')?.replace('Bearer ', '')
    let user: User | null
    try {
      user = token ? await verify(token) : null
    } catch (error) {
      const data = { code: 'UNAUTHORIZED', httpStatus: 401 }
      return Response.json(
        { error: { message: (error as Error).message, code: -32001, data } },
        { status: 401 },
      )
    }
    return fetchRequestHandler({ endpoint: '/trpc', req, router: appRouter, createContext: () => ({ user }) })
  }

const t = initTRPC.context<{ user: User | null }>().create()

const refuse = (message: string): never => {
  throw new TRPCError({ code: 'UNAUTHORIZED', message })
}
const signedIn = t.procedure.use(({ ctx: { user }, next }) =>
  next({ ctx: { user: user ?? refuse('Missing Authorization Header') } }),
)
const fresh = signedIn.use(({ ctx: { user }, next }) =>
  user.fresh ? next() : refuse('Fresh token required'),
)

export const appRouter = t.router({
  greet: t.procedure.query(({ ctx }) => `Hello ${ctx.user?.sub ?? 'stranger'}`),
  me: signedIn.query(({ ctx }) => ctx.user.sub),
  secret: fresh.query(({ ctx }) => `The secret of ${ctx.user.sub}`),
  save: signedIn.input(String).mutation(({ ctx, input }) => `${ctx.user.sub}: ${input}`),
  close: fresh.mutation(({ ctx }) => `${ctx.user.sub} is gone`),
})

export type AppRouter = typeof appRouter
